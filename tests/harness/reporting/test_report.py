"""The leaderboard as text: its numbers, gaps, notes, order, escaping, and the width of a
terminal."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy.stats import t

from harness.errors import BadInput
from harness.reporting.columns import Layout
from harness.reporting.costs import BUDGETS
from harness.reporting.report import Report, format_of
from harness.reporting.statistics.wilcoxon import pairwise
from harness.store import Store
from harness.tasks.cards import load_cards, load_suites

TASKS = {
    "digits": "natural",
    "fashion": "natural",
    "sprites-location": "structured",
    "sprites-orientation": "structured",
}
TASKS["sprites-count"] = "structured"
VARIANTS = ("linear", "vpt", "vpt-deep", "ivpt(da=false)")
NOTE = "ivpt is a reading; not the paper's numbers."
SCORES = np.random.default_rng(0).uniform(30, 99, size=(len(VARIANTS), len(TASKS), 3)).round(2)


def render(store: Store, fmt: str = "table", **options: Any) -> Any:
    return Report(store, suite=options.pop("suite_name", None), **options).render(fmt)


@pytest.fixture
def mini(filler: Any) -> Store:
    """4 variants x 5 tasks x 3 seeds."""
    for row, variant in enumerate(VARIANTS):
        for column, (task, group) in enumerate(TASKS.items()):
            key = filler.cell(
                variant, task, group=group, note=NOTE if variant.startswith("ivpt") else ""
            )
            filler.trials(key, 5)
            filler.results(key, SCORES[row, column].tolist(), trainable=1000 * row)
    return filler.store


def _printed(renderable: Any, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(renderable)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line) <= width for line in _bare(text).splitlines())
    return text


def _bare(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _document(store: Store, **options: Any) -> dict[str, Any]:
    return json.loads(str(render(store, fmt="json", **options)))


def test_json_has_numpys_numbers(mini: Store) -> None:
    document = _document(mini)
    assert set(document) == {"rows", "groups", "methods", "gaps", "tests", "notes"}
    assert len(document["rows"]) == 20
    for row in document["rows"]:
        scores = SCORES[VARIANTS.index(row["variant"]), list(TASKS).index(row["task"])]
        assert row["mean"] == pytest.approx(scores.mean())
        assert row["std"] == pytest.approx(scores.std(ddof=1))
        assert (row["n"], len(row["ids"]), row["suite"], row["backbone"], row["protocol"]) == (
            3,
            3,
            "mini",
            "mini_vit",
            "mini",
        )
    means = SCORES.mean(axis=2)
    for said in document["methods"]:
        of_tasks = means[VARIANTS.index(said["variant"])]
        assert said["mean"] == pytest.approx(of_tasks.mean())
        assert said["group_means"] == pytest.approx(
            {"natural": of_tasks[:2].mean(), "structured": of_tasks[2:].mean()}
        )
        assert said["params"] == 1000 * VARIANTS.index(said["variant"])
        better = (means > of_tasks).sum(axis=0) + 1
        assert said["mean_rank"] == pytest.approx(better.mean())
    assert [said["mean"] for said in document["methods"]] == sorted(
        means.mean(axis=1), reverse=True
    )
    assert {(entry["group"], len(entry["tasks"])) for entry in document["groups"]} == {
        ("natural", 2),
        ("structured", 3),
    }
    assert document["gaps"] == []
    assert [entry["note"] for entry in document["notes"]] == [NOTE]


def test_csv_is_the_tidy_frame(mini: Store) -> None:
    lines = list(csv.DictReader(io.StringIO(str(render(mini, fmt="csv")))))
    assert len(lines) == 60
    for line in lines:
        scores = SCORES[VARIANTS.index(line["variant"]), list(TASKS).index(line["task"])]
        assert float(line["score"]) == scores[int(line["seed"])]
    assert len({line["id"] for line in lines}) == 60


def test_markdown_marks_the_best_and_the_second(mini: Store) -> None:
    text = str(render(mini, tasks=list(TASKS), suite_name="mini", fmt="md"))
    title, _, head, rule, *lines = text.splitlines()
    assert title == "### mini · mini_vit · protocol mini"
    assert head == f"| Method | {' | '.join(TASKS)} | Params | Mean of 5 | Rank |"
    assert rule == "| --- |" + " ---: |" * 8
    means = SCORES.mean(axis=2)
    for line in lines[:4]:
        variant, *values = line.strip("| ").split(" | ")
        row = VARIANTS.index(variant)
        for column, value in enumerate(values[:5]):
            place = int((means[:, column] > means[row, column]).sum())
            around = {0: "**", 1: "*"}.get(place, "")
            best = SCORES[means[:, column].argmax(), column]
            half = t.ppf(0.975, len(best) - 1) * best.std(ddof=1) / np.sqrt(len(best))
            near = "\u2248" if place and means[row, column] >= best.mean() - half else ""
            assert (
                value == f"{around}{means[row, column]:.1f}{around}{near}"
                f" ±{SCORES[row, column].std(ddof=1):.1f}"
            )
    assert f"- {NOTE}" in lines


def test_what_looks_equal_shares_a_place(filler: Any) -> None:
    for variant, score in {"a": 90.04, "b": 89.96, "c": 80.0, "d": 80.01, "e": 70.0}.items():
        filler.results(filler.cell(variant, "digits"), [score])
    text = str(render(filler.store, fmt="md"))
    assert text.count("| **90.0** |") == 2
    assert text.count("| *80.0* |") == 2
    assert "| 70.0 |" in text


def test_one_method_alone_has_no_rank(filler: Any) -> None:
    filler.results(filler.cell("vpt", "digits"), [90.0])
    text = str(render(filler.store, fmt="md"))
    assert "Rank" not in text
    assert "*" not in text
    assert "one seed, so no spread" in text
    assert _document(filler.store)["methods"][0]["mean_rank"] is None


@pytest.fixture
def gaps(filler: Any) -> Store:
    """A square that failed, one that was never run, one with one seed of three."""
    for variant, task in (
        ("vpt", "digits"),
        ("vpt", "fashion"),
        ("linear", "digits"),
        ("linear", "sprites"),
    ):
        filler.results(
            filler.cell(variant, task), [50.0, 52.0, 54.0] if task != "fashion" else [50.0]
        )
    for seed in (2, 0, 1):
        filler.failure(
            filler.cell("vpt", "sprites"),
            seed,
            "CUDA out of memory | [red]tried[/red] <b>2</b> GiB\n\x1b[31m",
        )
    return filler.store


def test_gaps_are_gaps(gaps: Store) -> None:
    text = str(render(gaps, fmt="md"))
    assert "| vpt | **52.0** ±2.0 | **50.0** n=1 | failed | 960 | 51.00 2/3 | \u2013 |" in text
    assert "| linear | **52.0** ±2.0 | \u2013 | **52.0** ±2.0 | 960 | 52.00 2/3 | \u2013 |" in text
    assert "Not ranked because they lack tasks: linear (fashion), vpt (sprites)." in text
    assert "Fewer than 3 seeds: vpt on fashion (1)." in text
    document = _document(gaps)
    assert {
        said["variant"]: (said["mean"], said["tasks"], said["of_tasks"])
        for said in document["methods"]
    } == {
        "vpt": (None, 2, 3),
        "linear": (None, 2, 3),
    }
    assert sorted((gap["variant"], gap["task"], gap["seed"]) for gap in document["gaps"]) == [
        ("vpt", "sprites", seed) for seed in range(3)
    ]
    rows = {(row["variant"], row["task"]): row for row in document["rows"]}
    failed, missing = rows["vpt", "sprites"], rows["linear", "fashion"]
    assert (failed["mean"], failed["n"], failed["reason"][:18]) == (None, 0, "CUDA out of memory")
    assert (missing["mean"], missing["n"], missing["reason"]) == (None, 0, "not run")
    assert rows["vpt", "digits"]["reason"] is None
    failed = [
        line for line in csv.DictReader(io.StringIO(str(render(gaps, fmt="csv")))) if line["reason"]
    ]
    assert [(line["variant"], line["task"], line["seed"], line["score"]) for line in failed] == [
        ("vpt", "sprites", str(seed), "") for seed in range(3)
    ]


def test_what_comes_from_outside_is_escaped(gaps: Store) -> None:
    text = str(render(gaps, fmt="md"))
    assert (
        r"- Failed: vpt on sprites (seeds 0, 1, 2): CUDA out of memory \| \[red\]tried\[/red\]"
        r" \<b\>2\</b\> GiB  \[31m" in text
    )
    printed = _printed(render(gaps))
    assert "[red]tried[/red] <b>2</b>" in _bare(printed)
    assert "\x1b[31m\n" not in printed


def test_a_pipe_in_a_name_makes_no_column(filler: Any) -> None:
    filler.results(filler.cell("mine(kind=a|b)", "digits"), [50.0])
    assert r"| mine(kind=a\|b) | 50.0 |" in str(render(filler.store, fmt="md"))
    assert "(kind=a|b)" in _bare(_printed(render(filler.store)))


def test_older_runs_are_told_of(filler: Any) -> None:
    filler.results(filler.cell("vpt", "digits", version="1"), [50.0, 51.0])
    filler.results(filler.cell("vpt", "fashion", version="1"), [50.0])
    filler.results(filler.cell("vpt", "digits", version="2"), [60.0, 61.0])
    filler.results(filler.cell("linear", "digits", data="e" * 64), [40.0, 41.0])
    text = str(render(filler.store, fmt="md"))
    assert "Not shown: runs of an older version, code, card or data: vpt on digits (2)." in text
    assert "vpt was run in versions 1, 2 on different tasks." in text
    assert "On digits, methods were run on different data." in text
    assert "60.5" in text
    assert "50.5" not in text


def test_unequal_budgets_are_told_of(filler: Any) -> None:
    for variant, task, count in (
        ("linear", "digits", 3),
        ("vpt", "digits", 10),
        ("vpt", "fashion", 8),
    ):
        key = filler.cell(variant, task)
        filler.trials(key, count)
        filler.results(key, [50.0])
    assert "Tuning budgets differ; trials per task: vpt 8-10, linear 3." in str(
        render(filler.store, fmt="md")
    )
    for variant in ("a", "b", "c", "d", "e"):
        key = filler.cell(variant, "digits")
        filler.trials(key, 3)
        filler.results(key, [40.0])
    assert "Tuning budgets differ; trials per task: vpt 8-10, all others 3." in str(
        render(filler.store, fmt="md")
    )


def test_each_backbone_and_protocol_has_its_section(filler: Any) -> None:
    filler.results(filler.cell("vpt", "digits"), [50.0])
    filler.results(filler.cell("vpt", "digits", sha="cd" * 32), [60.0])
    filler.results(filler.cell("vpt", "digits", protocol={"epochs": 10, "trials": 4}), [70.0])
    filler.results(
        filler.cell("vpt", "cifar100", suite="vtab", backbone="vit", name="default"), [80.0]
    )
    titles = [
        line for line in str(render(filler.store, fmt="md")).splitlines() if line.startswith("#")
    ]
    assert titles == [
        "### mini · mini_vit@abababab · protocol mini, 10 trials",
        "### mini · mini_vit@cdcdcdcd · protocol mini, 10 trials",
        "### mini · mini_vit@abababab · protocol mini, 4 trials",
        "### vtab · vit · protocol default",
    ]


def test_tasks_of_several_suites_can_share_a_table(filler: Any) -> None:
    filler.results(filler.cell("vpt", "digits"), [50.0])
    filler.results(filler.cell("vpt", "cub", suite="fgvc", group="fgvc"), [60.0])
    text = str(render(filler.store, tasks=["cub", "digits", "birds"], fmt="md"))
    assert "### mini+fgvc · mini_vit" in text
    assert "| Method | cub | digits | Params | Mean of 2 |" in text
    assert "No result yet on 1 of 3 tasks: birds." in text


def test_filters(mini: Store) -> None:
    def variants(*methods: str) -> set[str]:
        return {row["variant"] for row in _document(mini, methods=methods)["rows"]}

    assert variants("ivpt") == {"ivpt(da=false)"}
    assert variants("ivpt( da=false )", "vpt") == {"ivpt(da=false)", "vpt"}
    with pytest.raises(BadInput, match=r"unknown method 'vptdeep'\. Did you mean 'vpt-deep'\?"):
        variants("vptdeep")
    some = [key for key, cell in mini.cells().items() if cell.labels["variant"] == "linear"]
    assert {row["variant"] for row in _document(mini, cells=some)["rows"]} == {"linear"}
    assert {row["task"] for row in _document(mini, tasks=["fashion"])["rows"]} == {"fashion"}


def test_nothing_to_show_is_one_line(mini: Store, tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"absent.db holds no results: add some with `harness run --store .*`"
    ):
        render(Store(tmp_path / "absent.db"))
    assert not (tmp_path / "absent.db").exists()
    with pytest.raises(
        BadInput, match=r"holds no results for vtab: run `harness run --suite vtab`"
    ):
        render(mini, tasks=["cifar100"], suite_name="vtab")
    with pytest.raises(BadInput, match=r"for a,b: `harness results list`"):
        render(mini, tasks=["a", "b"])
    with pytest.raises(BadInput, match="of this run"):
        render(mini, cells=[])
    with pytest.raises(BadInput, match="unknown format"):
        render(mini, fmt="xml")


@pytest.mark.parametrize("width", [80, 120])
def test_the_mini_suite_fits_a_terminal(mini: Store, width: int) -> None:
    text = _bare(_printed(render(mini, tasks=list(TASKS), suite_name="mini"), width))
    flat = " ".join(text.split())
    assert flat.startswith("mini · mini_vit · protocol mini")
    assert NOTE in flat
    for row in range(len(VARIANTS)):
        for column in range(len(TASKS)):
            assert f"{SCORES[row, column].mean():.1f}" in text
            assert f"±{SCORES[row, column].std(ddof=1):.1f}" in text
    assert "…" not in text


def test_bold_and_underlined_in_the_terminal(filler: Any) -> None:
    for variant, score in {"a": 90.0, "b": 80.0, "c": 70.0}.items():
        filler.results(filler.cell(variant, "digits"), [score])
    text = _printed(render(filler.store))
    assert "\x1b[1m90.0\x1b[0m" in text
    assert "\x1b[4m80.0\x1b[0m" in text
    assert " 70.0" in text


@pytest.fixture
def vtab(filler: Any) -> tuple[Store, np.ndarray]:
    """3 variants x 19 tasks in groups of 7, 4 and 8."""
    scores = np.random.default_rng(1).uniform(30, 99, size=(3, 19))
    for row, variant in enumerate(VARIANTS[:3]):
        for column in range(19):
            group = "natural" if column < 7 else "specialized" if column < 11 else "structured"
            key = filler.cell(
                variant,
                f"a-task-with-a-long-name-{column}",
                suite="vtab",
                group=group,
                backbone="vit",
                name="default",
            )
            filler.results(key, [float(scores[row, column])])
    return filler.store, scores


@pytest.mark.parametrize("width", [80, 120])
def test_many_tasks_fold_to_groups(vtab: tuple[Store, np.ndarray], width: int) -> None:
    store, scores = vtab
    text = _bare(_printed(render(store, suite_name="vtab"), width))
    groups = np.stack(
        [scores[:, :7].mean(axis=1), scores[:, 7:11].mean(axis=1), scores[:, 11:].mean(axis=1)],
        axis=1,
    )
    for number in (*groups.ravel(), *groups.mean(axis=1), *scores.mean(axis=1)):
        assert f"{number:.2f}" in text
    flat = " ".join(text.split())
    assert "19 tasks don't fit here: --format md, csv and html show all of them." in flat
    assert "…" not in text


def test_markdown_of_many_tasks_has_them_down(vtab: tuple[Store, np.ndarray]) -> None:
    store, scores = vtab
    lines = str(render(store, fmt="md")).splitlines()
    order = np.argsort(-scores.mean(axis=1))
    assert lines[2] == f"| Task | {' | '.join(VARIANTS[row] for row in order)} |"
    cells = [cell.strip("* ") for cell in lines[4].strip("|").split("|")]
    assert cells == ["a-task-with-a-long-name-0", *(f"{scores[row, 0]:.1f}" for row in order)]
    for title in (
        "natural (7)",
        "specialized (4)",
        "structured (8)",
        "Mean of 19",
        "Mean of 3 groups",
        "Rank",
    ):
        assert sum(line.startswith(f"| {title} |") for line in lines) == 1


def test_an_incomplete_group_has_no_mean(vtab: tuple[Store, np.ndarray], filler: Any) -> None:
    key = filler.cell(
        "ivpt", "a-task-with-a-long-name-0", suite="vtab", backbone="vit", name="default"
    )
    filler.results(key, [50.0])
    (said,) = (said for said in _document(filler.store)["methods"] if said["variant"] == "ivpt")
    assert said["group_means"] == {"natural": None, "specialized": None, "structured": None}
    assert said["mean"] is None
    assert _document(filler.store)["methods"][-1] == said


def test_many_failures_stay_short(filler: Any) -> None:
    for index in range(30):
        filler.failure(
            filler.cell("vpt", f"t{index}"),
            0,
            "the same" if index < 20 else f"reason {index} {'x' * 500}",
        )
    text = str(render(filler.store, fmt="md"))
    assert (
        "- Failed: vpt on t0 (seed 0), vpt on t1 (seed 0), vpt on t2 (seed 0), vpt on t3 (seed 0),"
        " vpt on t4 (seed 0)" in text
    )
    assert "and 14 more: the same" in text
    assert "5 more reasons for failures: see --format json." in text
    assert all(len(line) < 300 for line in text.splitlines() if line.startswith("- "))
    assert len(_document(filler.store)["gaps"]) == 30


def test_importing_it_needs_neither_torch_nor_ray() -> None:
    script = "import sys, harness.reporting.report; print({'torch', 'ray'} & set(sys.modules))"
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "set()"
    )


def test_tasks_come_in_the_order_of_the_plan(filler: Any) -> None:
    keys = [filler.cell("vpt", task) for task in TASKS]
    for key in reversed(keys[1:]):
        filler.results(key, [50.0])
    filler.failure(keys[0], 0, "lost")
    assert f"| Method | {' | '.join(TASKS)} |" in str(render(filler.store, fmt="md"))


PAPERS = "vit_base_patch16_224.orig_in21k"


@pytest.fixture
def one_of_vtab(filler: Any) -> Store:
    """A method on all tasks of VTAB-1k, with the backbone of the published tables."""
    cards, suites = load_cards(), load_suites()
    for index, task in enumerate(suites["vtab"].tasks):
        for variant in ("linear", "vpt-deep"):
            key = filler.cell(
                variant,
                task,
                suite="vtab",
                group=cards[task].group,
                backbone=PAPERS,
                name="default",
            )
            filler.results(key, [50.0 + index + (variant == "linear") * (-1) ** index * 0.5] * 2)
    return filler.store


def test_published_numbers_stand_beside_and_are_in_no_mean(one_of_vtab: Store) -> None:
    tasks = load_suites()["vtab"].tasks
    without = _document(one_of_vtab, tasks=tasks)
    document = _document(one_of_vtab, tasks=tasks, published=True)
    assert {name: value for name, value in document.items() if name != "published"} == without
    numbers = {
        (row["method"], row["task"]): row["value"]
        for row in document["published"]
        if (row["backbone"], row["pretrain"]) == ("ViT-B/16", "sup-IN21k")
    }
    assert (numbers["vpt-deep", "cifar100"], numbers["vpt-deep", "mean-vtab_natural7"]) == (
        78.8,
        78.48,
    )
    text = str(render(one_of_vtab, fmt="md", tasks=tasks, published=True))
    measured, _, papers = text.partition("| Task | full")
    assert "| cifar100 | " in measured
    assert "| cifar100 | 68.9 | 63.4 | 77.7 | 78.8 |" in papers
    assert "no mean, rank or test here includes them" in papers
    apart = papers.replace("\\", "")
    assert re.search(r"- Unlike here, \[1 to [0-9, to]+\]: pixels: pil here, tf there\.", apart)
    assert "reported: last epoch here, best on test there" in apart
    flat = _bare(_printed(render(one_of_vtab, tasks=tasks, published=True), 80))
    assert "78.48" in flat
    assert max(map(len, flat.splitlines())) <= 80
    tidy: Any = Report(one_of_vtab, tasks=tasks, published=True).tidy
    assert set(tidy["origin"]) == {"measured", "published"}
    assert tidy[tidy["origin"] == "published"]["source"].notna().all()


def test_on_other_tasks_there_is_nothing_published(mini: Store) -> None:
    assert "Published: none, no paper's numbers on these tasks" in str(
        render(mini, fmt="md", published=True)
    )


def test_a_baseline_and_budgets_fit_a_terminal(one_of_vtab: Store) -> None:
    layout = Layout(baseline="linear", columns=("params", *BUDGETS))
    text = _bare(_printed(render(one_of_vtab, layout=layout), 80))
    assert max(map(len, text.splitlines())) <= 80
    assert "\u2026" not in text
    (pair,) = pairwise(sections_of(one_of_vtab)[0].scores, load_suites()["vtab"].tasks, "linear")  # type: ignore[misc]
    for shown in (
        f"{pair.mean:+.2f}",
        f"[{pair.low:+.1f}, {pair.high:+.1f}]",
        f"{pair.wins}/{pair.ties}/{pair.losses}",
        "Trials",
        "Units",
    ):
        assert shown in text
    few = str(render(one_of_vtab, fmt="md", tasks=["dtd", "svhn"], layout=layout))
    assert "To linear: Wilcoxon's test needs at least 5 tasks; there are 2." in few


def sections_of(store: Store) -> list[Any]:
    return Report(store).sections


def test_methods_come_in_the_order_asked_for(filler: Any) -> None:
    for variant, params, scores in (
        ("a", 10, [90.0, 10.0, 10.0]),
        ("b", 100, [30.0, 30.0, 30.0]),
        ("c", 50, [20.0, 31.0, 31.0]),
    ):
        for task, score in zip(TASKS, scores, strict=False):
            filler.results(filler.cell(variant, task), [score], trainable=params)
    orders = {
        sort: list(Report(filler.store, sort=sort).sections[0].scores)
        for sort in ("mean", "rank", "params")
    }
    assert orders == {"mean": ["a", "b", "c"], "rank": ["c", "b", "a"], "params": ["a", "c", "b"]}
    with pytest.raises(BadInput, match=r"unknown order 'ranks'\. Did you mean 'rank'"):
        str(render(filler.store, fmt="md", sort="ranks"))


def test_complete_only_says_what_it_keeps(gaps: Store) -> None:
    text = str(render(gaps, fmt="md", complete_only=True))
    assert "| Method | digits | Params | Mean of 1 | Rank |" in text
    assert (
        "Only the 1 tasks on which every method has a score: digits (left out: fashion, sprites)."
        in text
    )
    document = _document(gaps, complete_only=True)
    assert {said["variant"]: said["mean_rank"] for said in document["methods"]} == {
        "linear": 1.5,
        "vpt": 1.5,
    }


def test_complete_only_without_a_common_task_is_one_line(filler: Any) -> None:
    filler.results(filler.cell("vpt", "digits"), [50.0])
    filler.results(filler.cell("linear", "fashion"), [50.0])
    with pytest.raises(BadInput, match="no task has a score for every method"):
        str(render(filler.store, fmt="md", complete_only=True))


@pytest.mark.parametrize("form", ["table", "md", "csv", "json", "parquet", "latex"])
def test_a_file_is_whole_or_not_there(form: str, mini: Store, tmp_path: Path) -> None:
    path = tmp_path / f"board.{form}"
    Report(mini).write(form, path)
    assert path.stat().st_size > 500
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    if form == "parquet":
        assert sorted(pd.read_parquet(path)["score"]) == sorted(SCORES.ravel())
    with pytest.raises(BadInput, match="no folder"):
        Report(mini).write(form, tmp_path / "missing" / "board")


@pytest.mark.parametrize(
    ("form", "name", "found"),
    [
        (None, None, "table"),
        (None, "a.TEX", "latex"),
        (None, "a.svg", "svg"),
        ("md", "a.txt", "md"),
        (None, "a.parquet", "parquet"),
    ],
)
def test_a_files_name_says_its_form(form: str | None, name: str | None, found: str) -> None:
    assert format_of(form, Path(name) if name else None) == found


@pytest.mark.parametrize(
    ("form", "name", "said"),
    [
        ("htlm", None, "unknown format 'htlm'. Did you mean 'html'"),
        ("png", None, "give --output FILE.png"),
        (None, "a.xyz", "Give --format"),
    ],
)
def test_a_form_that_cannot_be_is_one_line(form: str | None, name: str | None, said: str) -> None:
    with pytest.raises(BadInput, match=re.escape(said)):
        format_of(form, Path(name) if name else None)


def test_a_suite_of_which_tasks_are_missing_says_so(filler: Any) -> None:
    """A mean of four of five tasks isn't the suite's."""
    for task in ("digits", "fashion", "sprites-location", "sprites-orientation"):
        filler.results(filler.cell("vpt", task, suite="mini"), [50.0])
    said = "mini has 5 tasks; there is no result on sprites-count."
    assert said in str(render(filler.store, fmt="md"))
    assert said not in str(render(filler.store, fmt="md", tasks=["digits", "fashion"]))
    filler.results(filler.cell("vpt", "sprites-count", suite="mini"), [50.0])
    assert said not in str(render(filler.store, fmt="md"))
