"""Where a store stands: counted from its rows, said for people and for programs, and unknown where
the rows don't tell."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from made_up import cell, failure, result, trial
from rich.console import Console

from harness.cli import status as screen
from harness.engine.status import Status, asked, read
from harness.errors import BadInput
from harness.store import Cell, Store, new_owner

ASKED = asked(trials=2, seeds=(0, 1), trial_units=100.0, final_units=50.0)
OURS = [
    cell(variant, task, asked=ASKED)
    for task in ("digits", "fashion")
    for variant in ("linear", "vpt")
]


@pytest.fixture
def cells() -> list[Cell]:
    return OURS


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Four cells, two trials and two seeds each, nothing done yet."""
    found = Store(tmp_path / "results.db")
    found.add_cells(OURS)
    return found


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds")


def done(of: Cell, store: Store, *seconds_ago: float) -> None:
    """Both trials, and a final run for each of `seconds_ago`."""
    store.add_trials([trial(of, number) for number in range(2)])
    store.add_results(
        [result(of, seed, created=ago(seconds)) for seed, seconds in enumerate(seconds_ago)]
    )


def text_of(status: Status, width: int = 100, height: int | None = None) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(screen.picture(status, height))
    return console.file.getvalue()  # type: ignore[attr-defined]


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
    assert "18 results an hour, over the last 10 min" in text_of(found)
    assert "about 13 min" in text_of(found)


def test_between_two_looks_trials_count_too(store: Store, cells: list[Cell]):
    store.lease([cells[0].key], new_owner(), 60)
    before = read(store)
    long_ago = Status(**{**vars(before), "time": ago(100)})
    assert read(store, long_ago).rate is None
    store.add_trials([trial(of, number) for of in cells[:2] for number in range(2)])
    found = read(store, long_ago)
    assert found.rate is not None
    assert found.rate.trials == pytest.approx(3600 * 4 / 100, rel=0.05)
    assert found.left == pytest.approx((4 * 100 + 8 * 50) / (400 / 100), rel=0.05)


def test_what_the_rows_do_not_tell_is_unknown_with_the_reason(store: Store, cells: list[Cell]):
    assert read(store).left == "unknown: no run is at work on it"
    store.lease([cells[0].key], new_owner(), 60)
    assert "as the rate is" in str(read(store).left)
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


def test_control_characters_from_a_store_never_reach_the_terminal(store: Store, cells: list[Cell]):
    store.add_failure(failure(cells[0], 0, "\x1b[31mred [bold]text"))
    store.lease([cells[1].key], "ho\x1bst/0/1/2", 60)
    said = text_of(read(store))
    assert "\x1b" not in said
    assert "red [bold]text" in said


def test_the_picture_fits_in_the_terminal_and_says_how_much_is_left_out(tmp_path: Path):
    store = Store(tmp_path / "many.db")
    many = [cell(f"vpt(prompts={number})") for number in range(200)]
    store.add_cells(many)
    store.lease([of.key for of in many], new_owner(), 60)
    for number, of in enumerate(many):
        store.add_failure(failure(of, 0, f"reason {number} " + "that is long " * 20))
    said = text_of(read(store), width=80, height=24)
    assert len(said.splitlines()) <= 24
    assert "more" in said


def test_a_store_that_is_not_there_is_one_line_and_exit_code_2(harness, tmp_path: Path):
    for more in ([], ["--watch"]):
        found = harness("status", "--store", str(tmp_path / "none.db"), *more)
        assert found.returncode == 2
        assert found.stderr.startswith("harness: there is no store ")
        assert len(found.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BadInput, match="unknown format"):
        screen.show(Store(tmp_path / "none.db"), "xml", Console())


def test_json_has_it_all(harness, store: Store, cells: list[Cell]):
    done(cells[0], store, 60, 50)
    store.lease([cells[1].key], new_owner(), 60)
    found = json.loads(harness("status", "--store", str(store.file), "--format", "json").stdout)
    assert found["cells"] == {"all": 4, "done": 1, "under way": 1, "waiting": 2, "with gaps": 0}
    assert found["results"] == {"stored": 2, "wanted": 8}
    assert found["trials"] == {"complete": 2, "pruned": 0, "failed": 0, "wanted": 8}
    assert found["seconds_left"] is None
    assert [driver["state"] for driver in found["drivers"]] == ["alive"]
    assert found["under_way"][0]["variant"] == "vpt"


def watching(store: Store, *more: str, **streams) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "harness",
        "status",
        "--watch",
        "--store",
        str(store.file),
        *more,
    ]
    return subprocess.Popen(command, text=True, **streams)


def test_elsewhere_than_in_a_terminal_a_change_is_a_line_and_ctrl_c_ends_it_quietly(
    store: Store, cells: list[Cell]
):
    process = watching(store, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    first = process.stdout.readline()
    assert "0 done" in first
    assert "0 of 8 results" in first
    done(cells[0], store, 60, 50)
    assert "1 done" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "")


def test_in_a_terminal_it_is_a_picture_that_follows(store: Store, cells: list[Cell]):
    ours, theirs = pty.openpty()
    process = watching(store, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while b"0 done" not in seen:
            seen += os.read(ours, 4096)
        done(cells[0], store, 60, 50)
        while b"1 done" not in seen:
            seen += os.read(ours, 4096)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert b"Traceback" not in seen
    finally:
        process.kill()
        os.close(ours)


def test_no_search_is_read_and_neither_torch_nor_ray_is_imported(
    store: Store, cells: list[Cell], monkeypatch: pytest.MonkeyPatch
):
    done(cells[0], store, 60, 50)
    monkeypatch.setattr(Store, "trials", lambda *_: pytest.fail("the trials were read"))
    monkeypatch.setattr(Store, "results", lambda *_: pytest.fail("the results were read"))
    assert read(store).trials.total() == 2
    script = (
        "import sys, harness.cli.status; print({'torch', 'ray', 'pandas', 'optuna'} &"
        " set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout
        == "set()\n"
    )
