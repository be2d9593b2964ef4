"""What a method costs, beside its scores in every format."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.errors import BadInput
from harness.reporting.board import Leaderboard
from harness.reporting.columns import Layout, named_columns
from harness.reporting.costs import BUDGETS, COSTS, ppt
from harness.reporting.display import duration, giga, memory
from harness.reporting.figures import figure
from harness.reporting.report import Report
from harness.store import Store

EXTRAS = {
    "flops": 62.7e9,
    "flops_scored": 32.9e9,
    "flops_overhead": 0.2e9,
    "seconds_image": 0.0123,
    "checkpoint_bytes": 1_180_000,
}
DOCS = Path(__file__).parents[3] / "docs" / "costs.md"


@pytest.fixture
def store(filler: Any) -> Store:
    """Two methods: one with everything, one from before costs were counted."""
    for variant, scores, extras in (
        ("new", [70.0, 72.0], EXTRAS),
        ("old", [60.0, 61.0], None),
    ):
        for task in ("digits", "shapes"):
            filler.results(filler.cell(variant, task), scores, trainable=294_912, extras=extras)
    return filler.store


def report(store: Store, *columns: str) -> Report:
    return Report(store, layout=Layout(columns=columns))


def rows_of(text: str) -> dict[str, dict[str, str]]:
    """A Markdown table's rows by method, each by title."""
    titles, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return {row[0]: dict(zip(titles, row, strict=True)) for row in rows}


def test_costs_are_columns_and_what_was_not_counted_is_a_dash(store: Store):
    text = str(report(store, "costs", "ppt").render("md"))
    rows = rows_of(text)
    shown = {
        "Params": "295k",
        "Train GFLOP": "62.7",
        "Score GFLOP": "32.9",
        "Extra GFLOP": "0.2",
        "Time (image)": "12.3 ms",
        "Memory": "1.00 GB",
        "Checkpoint": "1.18 MB",
    }
    assert {title: rows["new"][title] for title in shown} == shown
    for title in ("Train GFLOP", "Score GFLOP", "Extra GFLOP", "Time (image)", "Checkpoint"):
        assert rows["old"][title] == "\u2013"
    assert rows["old"]["Memory"] == "1.00 GB"
    assert rows["new"]["PPT"] == f"{0.71 * math.exp(-math.log10(1.0294912)):.3f}"
    assert "Extra GFLOP: of scoring an image" in text


def test_only_what_was_asked_for_is_shown_and_defined(store: Store):
    text = str(report(store, "flops", "memory").render("md"))
    assert "Train GFLOP" in text
    for other in ("Params", "Head", "PPT", "Score GFLOP"):
        assert other not in text
    latex = str(report(store, "flops", "memory").render("latex"))
    assert "Train GFLOP" in latex
    assert "Params" not in latex
    with pytest.raises(BadInput, match=r"column 'flop'.*flops"):
        report(store, "flop").render("md")
    assert named_columns(["flops", "budgets"]) == ("flops", "year", "trials", "epochs", "units")
    assert set(BUDGETS) <= set(named_columns(["budgets"]))


def test_measured_costs_say_where(filler: Any):
    machines = (
        {"device": "NVIDIA H100", "threads": 4},
        {"device": "cpu", "processor": "AMD EPYC", "threads": 1},
    )
    for variant, machine in zip("ab", machines, strict=True):
        filler.results(filler.cell(variant, "digits"), [70.0], provenance=machine)
    store = filler.store
    text = str(report(store, "memory").render("md"))
    assert "Measured on AMD EPYC, 1 thread; NVIDIA H100. Times" in text
    assert "Measured on" not in str(report(store, "flops").render("md"))
    alone = str(Report(store, methods=["a"], layout=Layout(columns=("memory",))).render("md"))
    assert "Measured on NVIDIA H100." in alone
    assert "can't be compared" not in alone


def test_files_for_programs_have_all_costs_whatever_is_shown(store: Store):
    content = json.loads(str(report(store, "params").render("json")))
    new, old = content["methods"]
    assert {name: new[name] for name in EXTRAS} == EXTRAS
    assert all(old[name] is None for name in EXTRAS)
    assert set(COSTS) <= set(new)
    assert new["ppt"] == pytest.approx(ppt(71.0, 294_912))
    row = next(row for row in content["rows"] if row["variant"] == "new")
    assert {name: row[name] for name in EXTRAS} == EXTRAS
    for line in csv.DictReader(io.StringIO(str(report(store, "params").render("csv")))):
        for name, value in EXTRAS.items():
            assert line[name] == "" if line["variant"] == "old" else float(line[name]) == value


def test_all_costs_fit_a_terminal_and_what_does_not_is_named(store: Store):
    for width, all_of_them in ((120, True), (80, True), (60, False)):
        console = Console(width=width, file=io.StringIO(), color_system=None)
        console.print(report(store, "costs").render("table"))
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert max(map(len, text.splitlines())) <= width
        assert "new" in text
        assert ("Left out here" in text) != all_of_them


def test_the_tradeoff_takes_any_cost(store: Store, tmp_path: Path):
    for x, cost in COSTS.items():
        drawn = figure("tradeoff", Report(store).sections, x=x)
        (axes,) = drawn.axes
        assert axes.get_xlabel().lower() == cost.axis.lower()
    drawn = figure("tradeoff", Report(store).sections, x="flops")
    assert "Left out, not counted when stored: old." in drawn._supxlabel.get_text().replace(  # type: ignore[attr-defined]
        "\n", " "
    )
    file = Leaderboard(Report(store)).to_figure(tmp_path / "a.svg", x="flops")
    assert "GFLOP per training image" in file.read_text()
    with pytest.raises(BadInput, match=r"cost 'flop'.*flops"):
        figure("tradeoff", Report(store).sections, x="flop")
    with pytest.raises(BadInput, match="only a tradeoff has a cost"):
        figure("ranks", Report(store).sections, x="flops")
    with pytest.raises(BadInput, match=r"no row has its GFLOP per training image \(flops\)"):
        figure("tradeoff", Report(store, methods=["old"]).sections, x="flops")


def test_a_cost_may_be_zero_or_less(filler: Any):
    for variant, overhead in (("a", -2e9), ("b", 0.0), ("c", 3e9)):
        key = filler.cell(variant, "digits")
        filler.results(key, [50.0], extras={"flops_overhead": overhead})
    (axes,) = figure("tradeoff", Report(filler.store).sections, x="flops_overhead").axes
    formatted = axes.xaxis.get_major_formatter()
    ticks = [formatted(tick) for tick in axes.get_xticks()]
    assert ticks[0] == "\u2264 0"
    assert "3" in ticks


@pytest.mark.parametrize(
    ("mean", "params", "printed"),
    # rows of V-PETL Bench's README at c188fad: image tasks, and detection
    [
        (52.94, 0, 0.53),
        (71.44, 160_000, 0.71),
        (69.43, 560_000, 0.68),
        (73.10, 210_000, 0.72),
        (59.02, 1_190_000, 0.56),
        (39.46, 6_370_000, 0.32),
        (49.2, 12_600_000, 0.35),
        (85.4, 28_340_000, 0.48),
    ],
)
def test_ppt_is_the_one_that_v_petl_bench_prints(mean: float, params: int, printed: float):
    assert ppt(mean, params) == pytest.approx(printed, abs=0.0051)
    assert ppt(None, params) is None


def test_numbers_as_a_reader_sees_them():
    assert [giga(value) for value in (None, 0.0, 1.5e8, 62.72e9, 1095.6e9, -2e9)] == [
        *("\u2013", "0", "0.15", "62.7", "1096", "-2"),
    ]
    assert [memory(size) for size in (960, 38_400, 99_960, 213_000, 1_180_000, 640e6, 3.2e9)] == [
        *("0.96 kB", "38.4 kB", "100 kB", "213 kB", "1.18 MB", "640 MB", "3.20 GB"),
    ]
    assert [duration(seconds) for seconds in (0.0, 0.00042, 0.0123, 0.1, 89.0, 96.0)] == [
        *("0 s", "0.42 ms", "12.3 ms", "0.1 s", "89 s", "1.6 min"),
    ]


def test_the_page_on_costs_names_each_as_it_is_shown():
    text = DOCS.read_text()
    for cost in COSTS.values():
        assert f"| `{cost.name}` | {cost.title} |" in text
    config = (DOCS.parents[1] / "mkdocs.yml").read_text()
    assert "Costs: costs.md" in config
