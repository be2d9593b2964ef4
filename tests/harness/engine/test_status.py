"""Where a store stands: counted from its rows, and unknown where the rows don't tell."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_up import cell, failure, result, trial
from status_rows import ago, cells, done, store, text_of

from harness.engine.status import StoreStatus, read
from harness.store import Cell, Store, new_owner

__all__ = ["cells", "store"]


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_each_cell_is_done_under_way_waiting_or_has_gaps(store: Store, cells: list[Cell]):
    one, two, three, four = cells
    done(one, store, 60, 50)
    store.add_trials([trial(two, 0), trial(two, 1, None)])
    store.lease([two.key], new_owner(), 60)
    store.add_result(result(three, 0))
    store.add_failure(failure(three, 1, "out of memory"))
    found = read(store)
    assert [cell.state for cell in found.cells] == ["done", "under way", "with gaps", "waiting"]
    assert (found.results, found.results_wanted) == (3, 8)
    assert found.trials == {"complete": 3, "failed": 1}
    assert found.trials_wanted == 8
    assert [(gap.variant, gap.task, gap.seed, gap.reason) for gap in found.gaps] == [
        ("linear", "fashion", 1, "out of memory")
    ]
    assert found.trials_failed == (("NaN", 1),)
    assert found.cells[1].driver is not None
    assert found.cells[3].key == four.key


def test_a_gap_that_is_tried_again_is_under_way(store: Store, cells: list[Cell]):
    store.add_failure(failure(cells[0], 1))
    assert read(store).cells[0].state == "with gaps"
    store.lease([cells[0].key], new_owner(), 60)
    assert read(store).cells[0].state == "under way"


def test_more_seeds_than_the_last_run_asked_for_are_no_harm(store: Store, cells: list[Cell]):
    store.add_results([result(cells[0], seed) for seed in (0, 1, 7)])
    assert (read(store).cells[0].state, read(store).cells[0].results_wanted) == ("done", 3)


def test_drivers_are_alive_dead_or_expired(store: Store, cells: list[Cell]):
    host, machine, _, digits = new_owner().split("/")
    mine, dead, far = (
        new_owner(),
        f"{host}/{machine}/{ended_process()}/{digits}",
        "elsewhere/0/77/abc",
    )
    for of, owner in zip(cells, (mine, mine, dead, far), strict=True):
        store.lease([of.key], owner, 0.01 if owner is far else 60)
    time.sleep(0.05)
    found = read(store)
    assert [(driver.state, driver.cells) for driver in found.drivers] == [
        ("alive", 2),
        ("expired", 1),
        ("dead", 1),
    ]
    assert found.drivers[1].host == "elsewhere"
    assert found.drivers[1].seconds < 0 < found.drivers[0].seconds
    assert [cell.state for cell in found.cells] == ["under way", "under way", "waiting", "waiting"]
    said = text_of(found)
    assert "dead: the process is gone" in said
    assert "elsewhere, process 77" in said
    assert "cut off" in said


def test_the_rate_and_the_time_left_follow_from_when_results_were_stored(
    store: Store, cells: list[Cell]
):
    done(cells[0], store, 600, 450)
    done(cells[1], store, 300, 150)
    store.lease([cells[2].key], new_owner(), 60)
    found = read(store)
    assert found.rate is not None
    assert found.rate.results == pytest.approx(3600 * 3 / 600, rel=0.02), (
        "what the first one took is before the window"
    )
    units = 3 * (2 * 100 + 2 * 50) / 2
    assert found.left == pytest.approx(2 * (2 * 100 + 2 * 50) / (units / 600), rel=0.02)
    assert "18 results per hour, over the last 10 min" in text_of(found)
    assert "about 13 min" in text_of(found)


def test_between_two_looks_trials_count_too(store: Store, cells: list[Cell]):
    store.lease([cells[0].key], new_owner(), 60)
    before = read(store)
    long_ago = StoreStatus(**{**vars(before), "time": ago(100)})
    assert read(store, long_ago).rate is None
    store.add_trials([trial(of, number) for of in cells[:2] for number in range(2)])
    found = read(store, long_ago)
    assert found.rate is not None
    assert found.rate.trials == pytest.approx(3600 * 4 / 100, rel=0.05)
    assert found.left == pytest.approx((4 * 100 + 8 * 50) / (400 / 100), rel=0.05)


def test_what_the_rows_do_not_tell_is_unknown_with_the_reason(store: Store, cells: list[Cell]):
    assert read(store).left == "unknown: no run is working on it"
    store.lease([cells[0].key], new_owner(), 60)
    assert "like the rate" in str(read(store).left)
    store.add_cell(cell("theirs"))
    assert "doesn't say" in str(read(store).left)
    assert (read(store).results_wanted, read(store).trials_wanted) == (None, None)
    done(cells[0], store, 8000, 7900)
    assert read(store).rate is None


def test_cells_of_others_count_as_done_where_they_have_a_result(tmp_path: Path):
    store = Store(tmp_path / "theirs.db")
    odd = [
        cell("no label"),
        cell("wrong", asked={"trials": "many"}),
        cell("odd", asked=[1]),
        cell("waits"),
    ]
    store.add(odd, results=[result(of, 0) for of in odd[:3]])
    assert [found.state for found in read(store).cells] == ["done", "done", "done", "waiting"]
