"""What `harness compare` says, and what it refuses to say."""

import html
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.cli import main as cli
from harness.errors import BadInput
from harness.reporting.compare import Comparison, compare
from harness.reporting.statistics.intervals import bootstrap, interval
from harness.store import Store

TASKS = [f"t{index}" for index in range(17)]


def _fill(
    filler: Any,
    differences: Sequence[Sequence[float]],
    names: Sequence[str] = ("vpt-deep", "vpt"),
    **cell: Any,
) -> None:
    """A task a row, a seed a column: differences of the first method to the second, which has 50
    and the task's number."""
    for index, row in enumerate(differences):
        for name, of_seeds in zip(names, (row, [0.0] * len(row)), strict=True):
            filler.results(
                filler.cell(name, TASKS[index], **cell),
                [50.0 + index + value for value in of_seeds],
            )


def _said(found: Comparison) -> str:
    return "\n".join(found.lines())


SMALL = [
    1.25,
    -0.5,
    2.0,
    1.75,
    -0.75,
    3.0,
    0.25,
    1.5,
    -1.0,
    2.25,
    -2.5,
    2.75,
    0.75,
    -1.25,
    3.25,
    3.5,
    4.0,
]
"""12 wins and 5 losses."""


def _three_seeds(means: Sequence[float]) -> list[list[float]]:
    return [[mean - 0.5, mean, mean + 0.5] for mean in means]


def test_the_sentence_says_counts_mean_interval_and_test(filler: Any) -> None:
    values = [value / (3 if value > 0 else 1) - index / 100 for index, value in enumerate(SMALL)]
    _fill(filler, _three_seeds(values))
    found = compare(filler.store, "vpt-deep", "vpt", suite_name="mini", tasks=TASKS)
    low, high = bootstrap(values) or (0, 0)
    test: Any = stats.wilcoxon(values, method="exact")
    assert found.lines()[:3] == [
        "mini · mini_vit · protocol mini",
        (
            "- vpt-deep is better than vpt on 12 of 17 tasks (ties 0, losses 5); mean difference"
            f" {np.mean(values):+.1f} points, 95 % interval [{low:.1f}, {high:.1f}] over tasks"
            " taken as a sample: not significant at 0.05 (Wilcoxon signed-rank, p ="
            f" {test.pvalue:.2g}, effect {1 - 2 * test.statistic / (17 * 18 / 2):.2f})."
        ),
        "- May not be claimed: that either is better, or that they are equal.",
    ]
    assert found.parts[0].claim == "not significant"


def test_a_notebook_has_the_same_sentences_as_a_list(filler: Any) -> None:
    _fill(filler, [[value, value + 0.5] for value in SMALL[:3]])
    found = compare(filler.store, "vpt-deep", "vpt", suite_name="mini", tasks=TASKS[:3])
    page = found._repr_html_()
    shown = [html.unescape(text) for text in re.findall(r"<(?:strong|li)>(.*?)</", page)]
    assert shown == [line.removeprefix("- ") for line in found.lines()]
    assert len(shown) > 2
    assert "Wilcoxon's" not in page  # escaped


def test_what_may_be_claimed_is_said_with_its_limits(filler: Any) -> None:
    _fill(filler, _three_seeds([abs(value) for value in SMALL]))
    text = _said(compare(filler.store, "vpt-deep", "vpt"))
    assert "significant at 0.05 (Wilcoxon signed-rank, p < 0.001, effect 1.00)" in text
    assert "not significant" not in text
    assert (
        "May be claimed: vpt-deep is better than vpt over tasks like these. Not: on each of them"
        in text
    )
    turned = compare(filler.store, "vpt", "vpt-deep")
    assert turned.parts[0].claim == "worse"
    assert (
        "vpt is worse than vpt-deep on 17 of 17 tasks (ties 0, wins 0); mean difference -1.9"
        " points" in _said(turned)
    )
    assert "May be claimed: vpt-deep is better than vpt over" in _said(turned)


def test_ranks_may_differ_where_the_mean_does_not(filler: Any) -> None:
    _fill(filler, _three_seeds([1.0 + index / 100 for index in range(15)] + [-9.0, -9.5]))
    found = compare(filler.store, "vpt-deep", "vpt")
    assert found.parts[0].claim == "better"
    assert "The interval contains 0, so no gain in points may be claimed." in _said(found)


def test_single_seeds_are_refused_with_the_command_that_mends_it(filler: Any) -> None:
    _fill(filler, [[9.0]] * 8)
    found = compare(filler.store, "vpt-deep", "vpt", suite_name="mini")
    text = _said(found)
    assert (
        "No claim: the two have only one seed in common on every task, so a difference may be"
        " due to the seed." in text
    )
    assert (
        "What was measured: vpt-deep is better than vpt on 8 of 8 tasks (ties 0, losses 0); mean"
        " difference +9.0 points." in text
    )
    assert (
        "run 5 seeds: harness run --methods vpt-deep,vpt --suite mini --trials 10 --seeds 0,1,2,3,4"
        in text
    )
    assert "p = " not in text
    assert "p-value" not in text
    (said,) = json.loads(found.json())["comparisons"]
    assert (said["claim"], said["test"], said["fixed_tasks_interval"]) == ("refused", None, None)
    assert all(task["low"] is None for task in said["tasks"])


def test_one_seed_on_one_task_is_refused_too(filler: Any) -> None:
    _fill(filler, [*_three_seeds([2.0] * 7), [2.0]])
    found = compare(filler.store, "vpt-deep", "vpt")
    assert "No claim: the two have only one seed in common on t7, so" in _said(found)


def test_one_seed_on_one_side_is_refused(filler: Any) -> None:
    for index in range(6):
        filler.results(filler.cell("vpt", TASKS[index]), [50.0, 51.0, 52.0])
        filler.results(filler.cell("vpt-deep", TASKS[index]), [60.0], first_seed=2)
    found = compare(filler.store, "vpt-deep", "vpt")
    assert found.parts[0].claim == "refused"
    assert "mean difference +8.0 points" in _said(found)
    assert "one has more: t0 (1), t1 (1)" in _said(found)


def test_the_command_names_what_is_not_the_suites_default(filler: Any) -> None:
    cell = {
        "suite": "mine",
        "backbone": "vit",
        "name": "quick",
        "protocol": {"epochs": 2, "trials": 3},
    }
    _fill(filler, [[1.0]] * 2, names=("ivpt(da=false,k=3)", "vpt"), **cell)
    text = _said(compare(filler.store, "ivpt(k=3, da=false)", "vpt"))
    words = "--tasks t0,t1 --backbone vit --protocol quick.toml --normalize imagenet"
    assert f"harness run --methods 'ivpt(da=false,k=3),vpt' {words} --seeds 0,1,2,3,4" in text


def test_few_tasks_get_intervals_over_seeds_and_no_p_value(filler: Any) -> None:
    _fill(filler, [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [-1.0, -2.0, 0.0]])
    found = compare(filler.store, "vpt-deep", "vpt")
    text = _said(found)
    low, high = interval([1.0, 2.0, 3.0]) or (0, 0)
    assert (
        "on 1 of 3 tasks (ties 1, losses 1); mean difference +0.3 points: no p-value. Wilcoxon's"
        " test needs at least 5 tasks; there are 3." in text
    )
    assert f"t0 +2.0 [{low:.1f}, {high:.1f}], t1 +0.0 [0.0, 0.0], t2 -1.0 [" in text
    assert "p = " not in text
    assert found.parts[0].fixed == pytest.approx(interval([0.0, 0.0, 1.0]))
    assert "May not be claimed: that either is better, or that they are equal." in text


@pytest.mark.parametrize(
    ("tasks", "where"),
    [
        (1, "on this task. Not: on others."),
        (2, "by the mean over these tasks. Not: on each of them, or on others."),
    ],
)
def test_what_few_tasks_allow_is_said(filler: Any, tasks: int, where: str) -> None:
    """What the interval over seeds excludes, and of these tasks alone; the better one by name,
    whichever is asked for first."""
    _fill(filler, [[2.0, 2.1, 1.9]] * tasks)
    for names in (("vpt-deep", "vpt"), ("vpt", "vpt-deep")):
        text = _said(compare(filler.store, *names))
        assert f"May be claimed: vpt-deep is better than vpt {where}" in text


def test_five_tasks_cannot_reach_significance_and_it_is_said(filler: Any) -> None:
    _fill(filler, _three_seeds([1.0, 2.0, 3.0, 4.0, 5.0]))
    text = _said(compare(filler.store, "vpt-deep", "vpt"))
    assert "not significant at 0.05 (Wilcoxon signed-rank, p = 0.062, effect 1.00)" in text
    assert "With 5 tasks that differ, p can't be below 0.062, whatever the scores are." in text
    assert "Task by task" in text
    assert "The interval excludes 0, but the test decides." in text
    assert (
        "On these 5 tasks alone, taken as fixed, the mean difference's 95 % interval over seeds is"
        " [1.8, 4.2]: it excludes 0." in text
    )


def test_no_number_is_rounded_to_0_that_is_not(filler: Any) -> None:
    _fill(filler, [[0.02, 0.021, 0.022], [-0.003, -0.003, -0.003]])
    text = _said(compare(filler.store, "vpt-deep", "vpt"))
    assert "mean difference +0.01 points" in text
    assert "t0 +0.02 [0.02, 0.02], t1 -0.003 [-0.003, -0.003]" in text


def test_equal_scores_are_no_difference(filler: Any) -> None:
    _fill(filler, [[0.0, 0.0]] * 6)
    text = _said(compare(filler.store, "vpt-deep", "vpt"))
    assert (
        "on 0 of 6 tasks (ties 6, losses 0); mean difference +0.0 points, 95 % interval [0.0, 0.0]"
        in text
    )
    assert "not significant at 0.05 (Wilcoxon signed-rank, p = 1, effect 0.00)" in text


def test_what_is_missing_failed_or_unequal_is_named(filler: Any) -> None:
    _fill(filler, _three_seeds([2.0] * 6), note="our reading")
    filler.results(filler.cell("vpt", "t6"), [50.0, 50.0])
    filler.failure(filler.cell("vpt-deep", "t6"), 0, "out of memory\non GPU 0")
    filler.results(filler.cell("vpt", "t7"), [50.0, 50.0])
    filler.results(filler.cell("vpt-deep", "t8"), [50.0], first_seed=3)
    filler.results(filler.cell("vpt", "t8"), [50.0])
    filler.trials(filler.cell("vpt", "t0", note="our reading"), 4)
    filler.trials(filler.cell("vpt-deep", "t0", note="our reading"), 10)
    for name, pixels, data in (("vpt", "pil", "1" * 64), ("vpt-deep", "tf", "2" * 64)):
        filler.results(filler.cell(name, "t9", pixels=pixels, data=data, version="2"), [50.0, 51.0])
    text = _said(compare(filler.store, "vpt-deep", "vpt", tasks=TASKS[:11]))
    assert (
        "Not compared: t6 (vpt-deep failed: out of memory on GPU 0), t7 (vpt-deep has no score), t8"
        " (no seed in common), t10 (vpt-deep has no score, vpt has no score)." in text
    )
    assert "Tuning budgets differ on 1 of 7 tasks: vpt-deep 10, vpt 4 trials per task." in text
    assert "Not like for like, since data differ: t9." in text
    assert "Not like for like, since pixels differ: t9." in text
    assert "vpt was run in versions 1, 2 on different tasks." in text
    assert "- our reading" in text
    assert "mean difference +1.7 points" in text  # 6 x 2 and 0


def test_sections_are_apart(filler: Any) -> None:
    _fill(filler, _three_seeds([2.0] * 6), sha="aa" * 32)
    _fill(filler, _three_seeds([-2.0] * 6), sha="bb" * 32, backbone="vit")
    found = compare(filler.store, "vpt-deep", "vpt")
    assert [(part.section.backbone, part.claim) for part in found.parts] == [
        ("mini_vit", "better"),
        ("vit", "worse"),
    ]
    assert sum(line == "" for line in found.lines()) == 1


def test_names(filler: Any) -> None:
    _fill(filler, _three_seeds([1.0] * 6), names=("ivpt(da=false)", "vpt"))
    assert compare(filler.store, "ivpt", "vpt").one == "ivpt(da=false)"
    _fill(filler, _three_seeds([1.0] * 6), names=("ivpt(k=3)", "linear"))
    with pytest.raises(
        BadInput, match=r"'ivpt' has 2 variants here: name one of ivpt\(da=false\), ivpt\(k=3\)"
    ):
        compare(filler.store, "ivpt", "vpt")
    filler.results(filler.cell("ivpt", "t0"), [1.0, 2.0])
    assert compare(filler.store, "ivpt", "vpt").one == "ivpt"
    with pytest.raises(BadInput, match=r"unknown method 'vtp'\. Did you mean 'vpt'"):
        compare(filler.store, "vtp", "ivpt")
    with pytest.raises(BadInput, match=r"'vpt' and 'vpt ' are the same variant, vpt: name two"):
        compare(filler.store, "vpt", "vpt ")
    with pytest.raises(BadInput, match="holds no results"):
        compare(Store("sqlite://"), "vpt", "ivpt")


def test_methods_that_never_met(filler: Any) -> None:
    filler.results(filler.cell("vpt", "t0", backbone="a", sha="aa" * 32), [1.0])
    filler.results(filler.cell("ivpt", "t0", backbone="b", sha="bb" * 32), [1.0])
    with pytest.raises(
        BadInput, match=r"never run with the same backbone and protocol\. vpt: mini · a"
    ) as raised:
        compare(filler.store, "vpt", "ivpt")
    assert len(str(raised.value).splitlines()) == 1


def test_nothing_in_common(filler: Any) -> None:
    filler.results(filler.cell("vpt", "t0"), [1.0])
    filler.failure(filler.cell("ivpt", "t0"), 0, "broke")
    found = compare(filler.store, "ivpt", "vpt")
    assert (
        "Nothing to compare: no task has a seed that both were run with. Run: harness run"
        " --methods ivpt,vpt --suite mini" in _said(found)
    )
    assert "t0 (ivpt failed: broke)" in _said(found)
    (said,) = json.loads(found.json())["comparisons"]
    assert (said["claim"], said["mean_difference"], said["not_compared"]) == (
        "nothing",
        None,
        {"t0": "ivpt failed: broke"},
    )


def test_json_has_what_the_sentences_say(filler: Any) -> None:
    differences = np.random.default_rng(0).normal(1, 1, size=(8, 3)).tolist()
    _fill(filler, differences)
    (said,) = json.loads(compare(filler.store, "vpt-deep", "vpt").json())["comparisons"]
    assert said["test"]["mean"] == pytest.approx(np.mean(differences))
    assert said["test"]["family"] == 1
    assert said["wins"] == sum(np.mean(row) > 0 for row in differences)
    for task, row in zip(said["tasks"], differences, strict=True):
        assert (task["low"], task["high"]) == pytest.approx(interval(row))
    assert said["fixed_tasks_interval"] == pytest.approx(
        interval(np.mean(differences, axis=0).tolist())
    )
    assert said["sentences"][0].startswith("vpt-deep is better than vpt on")


@pytest.mark.parametrize("format", ["text", "json"])
def test_the_command(
    filler: Any, format: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fill(filler, _three_seeds([1.0] * 6))
    monkeypatch.setattr("harness.store.Store", lambda url: filler.store)
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "harness",
            "compare",
            "vpt-deep",
            "vpt",
            "--tasks",
            ",".join(TASKS[:6]),
            "--format",
            format,
        ],
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (0, None)
    out = capsys.readouterr().out
    assert "vpt-deep is better than vpt on 6 of 6 tasks" in out
    if format == "json":
        assert json.loads(out)["one"] == "vpt-deep"


def test_importing_it_needs_neither_torch_nor_ray() -> None:
    script = (
        "import sys, harness.reporting.compare; print({'torch', 'ray', 'optuna'} &"
        " set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "set()"
    )
