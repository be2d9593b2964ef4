"""The store locked, stopped or full in the middle of a run, and several drivers on one: nothing is
lost or doubled."""

import multiprocessing
import os
import re
import sqlite3
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from driving import below, ended_points, finish, kill, outage, rows, start, wait_for
from sharing import drive_to_the_end, plan_of

from harness.store import Store
from harness.store.check import check

pytestmark = pytest.mark.timeout(900)
METHODS = "vpt-deep,ivpt"


def whole(store: Path | str, methods: int = 2, tasks: tuple[str, ...] = ("toy",)) -> None:
    """Every final run is there once, every point of the grids was tried to its end once, and the
    store is sound."""
    found = rows(store)
    assert len(found) == methods * len(tasks) * 2
    assert {task for _, task, _ in found} == set(tasks)
    tried = ended_points(store)
    assert (len(tried), set(tried.values())) == (methods * len(tasks) * 12, {1})
    assert check(Store(store)).faults == []
    assert Store(store).leases() == []


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return (
        str(tmp_path / "shared.db")
        if request.param == "sqlite"
        else request.getfixturevalue("postgres").database()
    )


def test_eight_drivers_fill_one_store_though_two_are_killed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real processes over the real scheduler, whose jobs are made up: eight of Ray are too much for
    `make test`."""
    # for the server that they are forked from
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))
    cells = plan_of(24).cells
    Store(url).add_cells(cell.cell for cell in cells)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sharing"])
    drivers = [
        context.Process(target=drive_to_the_end, args=(url, 24, number)) for number in range(8)
    ]
    for driver in drivers:
        driver.start()
    store = Store(url)
    wait_for(lambda: len(store.trials()) > 30)
    for driver in drivers[:2]:
        driver.kill()
    for driver in drivers:
        driver.join(300)
    assert [driver.exitcode for driver in drivers] == [-9, -9, *[0] * 6]
    results = Counter((result.cell, result.seed) for result in store.results())
    assert results == {(cell.key, seed): 1 for cell in cells for seed in cell.seeds}
    numbers = Counter((trial.cell, trial.number) for trial in store.trials())
    assert set(numbers.values()) == {1}
    assert Counter(trial.cell for trial in store.trials()) == {cell.key: 6 for cell in cells}
    assert [
        fault for fault in check(store).faults if not re.search("digest|identity", fault)
    ] == [], "these cells' keys are made up"
    assert [lease for lease in store.leases() if lease.seconds > 0] == []


@pytest.mark.slow
@pytest.mark.parametrize("many", [2, 8])
def test_several_runs_on_one_store_share_its_cells(grid, url: str, many: int) -> None:
    """With Ray and all, eight cells; the first is killed in the middle, and started again."""
    asked = ("--workers", "1", "--store", url)
    methods = "vpt-deep,ivpt,ivpt(ar=false),vpt"
    drivers = [start(grid, *asked, methods=methods, tasks="toy,toy2") for _ in range(many)]
    store = Store(url)
    wait_for(lambda: len(store.trials()) >= 4, 600)
    kill(drivers[0].pid, *below(drivers[0]))
    drivers[0].wait()
    drivers.append(start(grid, *asked, methods=methods, tasks="toy,toy2"))
    for driver in drivers[1:]:
        finish(driver, 800)
    whole(url, 4, ("toy", "toy2"))


@pytest.mark.slow
def test_postgresql_stopped_in_the_middle_is_waited_for(grid, postgres) -> None:
    url = postgres.database()
    driver = start(grid, "--workers", "2", "--store", url, methods=METHODS)
    store = Store(url)
    wait_for(lambda: len(store.trials()) >= 4)
    with outage("PostgreSQL stopped for 8 s", url):
        store.close()
        postgres.stop()
        time.sleep(8)
        postgres.start()
    said = finish(driver)
    assert "waiting up to 120 s" in said
    assert "responds again" in said
    whole(url)


@pytest.mark.slow
def test_a_locked_sqlite_file_is_waited_for(grid) -> None:
    driver = start(grid, "--workers", "2", methods=METHODS)
    wait_for(lambda: len(Store(grid.store).trials()) >= 4)
    with outage("SQLite locked for 15 s", grid.store):
        with sqlite3.connect(grid.store, timeout=60) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(15)
            other.rollback()
        other.close()
    assert "waiting up to 120 s" in finish(driver)
    whole(grid.store)


def fill_up(folder: Path) -> Path:
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))
    return ballast


@pytest.mark.slow
def test_a_disk_that_fills_up_under_the_store_ends_the_run_in_one_line_and_it_goes_on_with_room(
    grid, small: Path
) -> None:
    url = str(small / "results.db")
    driver = start(grid, "--workers", "2", "--store", url, methods=METHODS)
    wait_for(lambda: len(Store(url).trials()) >= 4)
    ballast = fill_up(small)
    said = driver.said(120)
    assert driver.returncode == 2, said
    (line,) = [line for line in said.splitlines() if line.startswith("harness: ")]
    assert "the disk or quota is full" in line
    assert "Traceback" not in said
    ballast.unlink()
    before = Store(url).trials()
    assert check(Store(url)).faults == []
    finish(start(grid, "--workers", "2", "--store", url, methods=METHODS))
    assert [trial for trial in Store(url).trials() if trial in before] == before
    whole(url)


@pytest.mark.slow
def test_a_disk_too_full_for_the_cache_is_one_line_and_with_room_the_run_begins(
    grid, harness, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VPT_HARNESS_CACHE", str(small / "cache"))
    (small / "cache").mkdir()
    ballast = fill_up(small)
    done = harness(*grid.arguments("--workers", "2", methods=METHODS))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "No space left on device). Free some space" in line
    assert not list(small.rglob("*.tmp"))
    ballast.unlink()
    finish(start(grid, "--workers", "2", methods=METHODS))
    whole(grid.store)


@pytest.mark.slow
def test_a_disk_too_full_for_checkpoints_costs_these_not_the_results(grid, small: Path) -> None:
    grid.store.with_suffix(".checkpoints").symlink_to(small)
    ballast = fill_up(small)
    finish(start(grid, "--workers", "2", methods="vpt-deep"))
    whole(grid.store, methods=1)
    notes = [str(result.provenance) for result in Store(grid.store).results()]
    assert all("No space left" in note for note in notes), notes
    assert [path for path in small.iterdir() if path != ballast] == []
