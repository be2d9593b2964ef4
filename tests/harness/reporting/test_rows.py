"""From rows of the store to squares of a leaderboard."""

from typing import Any

import numpy as np
import pytest

from harness.reporting.leaderboard import TaskResult, leaderboard
from harness.reporting.rows import read
from harness.reporting.section import sections

SCORES = [81.25, 79.5, 84.125]


def _board(filler: Any) -> list[TaskResult]:
    return leaderboard(read(filler.store))


def test_what_a_protocol_says_of_single_cells_parts_no_scores(filler: Any) -> None:
    """A board's section is a whole protocol, whose cells differ by method; rows without its word
    stand by their own."""
    whole = {
        "epochs": 10,
        "batch_size": 128,
        "override": [{"method": ["linear"], "batch_size": 1024}],
    }
    for variant, batch in (("vpt", 128), ("linear", 1024)):
        filler.results(
            filler.cell(
                variant, "digits", protocol={"epochs": 10, "batch_size": batch}, settings=whole
            ),
            SCORES,
        )
    filler.results(filler.cell("vpt", "digits", protocol={"epochs": 10, "batch_size": 64}), SCORES)
    filler.results(filler.cell("bitfit", "digits", settings={**whole, "override": []}), SCORES)
    filler.results(filler.cell("ssf", "digits", settings="odd"), SCORES)  # type: ignore[arg-type]
    found = [
        (part.protocol, sorted(part.scores))
        for part in sections(leaderboard(read(filler.store)), None, None)
    ]
    assert [variants for _, variants in found] == [["linear", "vpt"], ["vpt"], ["bitfit"], ["ssf"]]
    assert len({name for name, _ in found}) == 4


def test_a_row_a_final_run(filler: Any) -> None:
    key = filler.cell("ivpt(da=false)", "digits", version="3", group="natural")
    filler.results(key, SCORES, trainable=10)
    filler.trials(key, 4)
    filler.trials(key, 2, "pruned")
    filler.trials(key, 1, "failed")
    runs = read(filler.store).runs
    assert [run.score for run in runs] == SCORES
    cell = runs[0].cell
    assert (runs[0].seed, runs[0].trainable, runs[0].detail) == (0, 10, None)
    assert (cell.method, cell.version, cell.variant) == ("ivpt", "3", "ivpt(da=false)")
    assert (cell.task, cell.suite, cell.group) == ("digits", "mini", "natural")
    assert (cell.trials, cell.failed_trials) == (6, 1)


def test_mean_and_std_are_numpys(filler: Any) -> None:
    filler.results(filler.cell("vpt", "digits"), SCORES, trainable=960)
    (square,) = _board(filler)
    assert square.mean == pytest.approx(np.mean(SCORES), abs=1e-12)
    assert square.std == pytest.approx(np.std(SCORES, ddof=1), abs=1e-12)
    assert (
        square.n,
        square.params,
        square.seconds,
        square.gaps,
        square.superseded,
    ) == (3, 960.0, 3.0, {}, 0)
    assert square.ids == [result.id for result in filler.store.results()]


def test_one_seed_has_no_spread(filler: Any) -> None:
    filler.results(filler.cell("vpt", "digits"), [50.0])
    (square,) = _board(filler)
    assert square.mean == 50.0
    assert square.std is None


def test_the_newest_cell_is_shown(filler: Any) -> None:
    new = filler.cell("vpt", "digits", version="2")
    old = filler.cell("vpt", "digits", version="1")
    filler.results(old, SCORES)
    filler.results(new, [90.0, 92.0])
    (square,) = _board(filler)
    assert (square.cell.version, square.mean, square.n, square.superseded) == (
        "2",
        91.0,
        2,
        3,
    )
    filler.results(old, [10.0], first_seed=3)
    (square,) = _board(filler)
    assert (square.cell.version, square.n, square.superseded) == ("1", 4, 2)


def test_only_what_is_alike_is_one_square(filler: Any) -> None:
    for index, other in enumerate(
        [{}, {"sha": "cd" * 32}, {"protocol": {"epochs": 20}}, {"metric": "miou"}]
    ):
        filler.results(
            filler.cell("vpt", f"digits{'' if index < 3 else index}", **other), [50.0 + index]
        )
    assert [square.mean for square in _board(filler)] == [50.0, 51.0, 52.0, 53.0]


def test_a_failure_is_a_gap(filler: Any) -> None:
    key = filler.cell("vpt", "digits")
    filler.failure(key, 1, "out of\nmemory")
    (square,) = _board(filler)
    assert (square.n, square.gaps, square.ids) == (0, {1: "out of memory"}, [])
    assert square.mean is None
    filler.results(key, [50.0])
    (square,) = _board(filler)
    assert (square.n, square.mean, square.gaps) == (1, 50.0, {1: "out of memory"})


def test_a_failure_that_was_made_good_is_none(filler: Any) -> None:
    key = filler.cell("vpt", "digits")
    filler.failure(key, 0, "lost")
    filler.results(key, [50.0])
    assert read(filler.store).failed == ()


@pytest.mark.parametrize(("created", "told"), [("2025-12-31", {}), ("2026-01-02", {0: "lost"})])
def test_a_new_cell_that_failed_does_not_hide_the_old_score(
    filler: Any, created: str, told: dict[int, str]
) -> None:
    filler.results(filler.cell("vpt", "digits", version="1"), SCORES)
    filler.failure(filler.cell("vpt", "digits", version="2"), 0, "lost", created)
    (square,) = _board(filler)
    assert (square.cell.version, square.n, square.gaps) == ("1", 3, told)


def test_cells_narrow_it(filler: Any) -> None:
    wanted, other = filler.cell("vpt", "digits"), filler.cell("linear", "digits")
    for key in (wanted, other):
        filler.results(key, [50.0])
        filler.failure(key, 1, "lost")
    rows = read(filler.store, [wanted])
    assert {run.cell.key for run in rows.runs} == {run.cell.key for run in rows.failed} == {wanted}
    assert not read(filler.store, [])


def test_an_empty_store_has_no_rows(filler: Any) -> None:
    rows = read(filler.store)
    assert not rows
    assert leaderboard(rows) == []


def test_what_a_search_took_and_what_a_run_chose(filler: Any) -> None:
    key = filler.cell("vpt", "digits", protocol={"epochs": 20})
    filler.results(key, [50.0, 51.0])
    filler.trials(key, 3)
    (square,) = _board(filler)
    assert (square.cell.search_units, square.cell.epochs, square.cell.pixels) == (3.0, 20, "pil")
    assert square.scores == {0: 50.0, 1: 51.0}
    first, _ = read(filler.store, detail=True).runs
    assert first.detail is not None
    assert (first.detail.params, first.detail.curve) == ({}, {10: 50.0})
    assert first.head_params == 1000
