"""Leases: a cell is one driver's at a time, whatever dies, by the database's clock."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from odd_rows import CELL, OTHER, RESULT, TRIAL
from postgres_server import Server
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from harness.errors import BadInput
from harness.store import Cell, LeaseLost, Store, cell_key, new_owner, result_id


@pytest.fixture
def shared(store: Store) -> Store:
    """With two cells."""
    store.add_cell(OTHER)
    return store


def expire(url: str, raw) -> None:
    raw(url, "update leases set expires = expires - 1000")


def test_a_cell_is_one_drivers(shared: Store, url: str) -> None:
    assert shared.leases() == []
    assert shared.lease([], "a", 60) == set()
    assert shared.lease([CELL.key, CELL.key], "a", 60) == {CELL.key}
    assert Store(url).lease([CELL.key, OTHER.key], "b", 60) == {OTHER.key}
    assert shared.lease([CELL.key, OTHER.key], "a", 60) == {CELL.key}, "its own again"
    held = shared.leases()
    assert [(lease.cell, lease.owner) for lease in held] == [(CELL.key, "a"), (OTHER.key, "b")]
    assert all(50 < lease.seconds <= 60 for lease in held)


def test_an_expired_one_is_taken(shared: Store, url: str, raw) -> None:
    shared.lease([CELL.key], "a", 60)
    expire(url, raw)
    assert shared.leases()[0].seconds < 0
    assert shared.lease([CELL.key], "b", 60) == {CELL.key}
    assert shared.renew("a", 60) == set()
    assert [lease.owner for lease in shared.leases()] == ["b"]


def test_an_expired_one_that_nobody_took_is_renewed(shared: Store, url: str, raw) -> None:
    shared.lease([CELL.key, OTHER.key], "a", 60)
    expire(url, raw)
    shared.lease([OTHER.key], "b", 60)
    assert shared.renew("a", 90) == {CELL.key}
    assert 80 < shared.leases()[0].seconds <= 90
    assert shared.lease([CELL.key], "b", 60) == set()


def test_released_ones_are_free(shared: Store) -> None:
    shared.lease([CELL.key, OTHER.key], "a", 60)
    shared.release("b")
    shared.release("a", [OTHER.key, "absent"])
    assert shared.lease([CELL.key, OTHER.key], "b", 60) == {OTHER.key}
    shared.release("a")
    assert [lease.owner for lease in shared.leases()] == ["b"]


def test_the_first_ones_are_taken_where_not_all_are_wanted(store: Store) -> None:
    cells = [replace(CELL, key=key) for key in ("z", "y", "x", "w")]
    store.add_cells(cells)
    store.lease(["y"], "b", 60)
    assert store.lease([cell.key for cell in cells], "a", 60, at_most=2) == {"z", "x"}
    assert store.lease([cell.key for cell in cells], "c", 60, at_most=2) == {"w"}
    # one's own are free to oneself, and count
    assert store.lease([cell.key for cell in cells], "a", 60, at_most=1) == {"z"}


def test_many_are_taken_at_once(store: Store) -> None:
    cells = [replace(CELL, key=f"{number}") for number in range(1000)]
    store.add_cells(cells)
    wanted = {cell.key for cell in cells}
    assert store.lease(wanted, "a", 60) == wanted == store.renew("a", 60)
    assert store.lease(wanted, "b", 60) == set()


def test_a_lease_is_of_a_cell_and_goes_with_it(shared: Store) -> None:
    with pytest.raises(IntegrityError):
        shared.lease([CELL.key, "absent"], "a", 60)
    assert shared.leases() == [], "all or none"
    shared.add_trials([TRIAL])
    shared.lease([CELL.key], "a", 60)
    assert shared.remove(searches=[CELL.key])["cells"] == 1
    assert shared.leases() == []


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_lease_has_an_end(shared: Store, seconds: float) -> None:
    with pytest.raises(ValueError, match="a lease of"):
        shared.lease([CELL.key], "a", seconds)
    with pytest.raises(ValueError, match="a lease of"):
        shared.renew("a", seconds)


def test_what_a_driver_stores_of_a_cell_that_it_lost_is_refused(
    shared: Store, url: str, raw
) -> None:
    shared.lease([CELL.key], "a", 60)
    shared.add_trials([TRIAL], held_by="a")
    shared.add_result(RESULT, held_by="a")
    expire(url, raw)
    shared.add_trials([replace(TRIAL, number=1)], held_by="a")
    shared.lease([CELL.key], "b", 60)
    with pytest.raises(LeaseLost, match=CELL.key):
        shared.add_trials([replace(TRIAL, number=2)], held_by="a")
    with pytest.raises(LeaseLost, match=CELL.key):
        shared.add_result(replace(RESULT, seed=4, id="4" * 12), held_by="a")
    shared.add_trials([replace(TRIAL, number=2)], held_by="b")
    assert [trial.number for trial in shared.trials()] == [0, 1, 2]
    assert shared.results() == [RESULT]


def test_the_drivers_clocks_dont_matter(shared: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    shared.lease([CELL.key], "a", 60)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert shared.lease([CELL.key], "b", 60) == set()
    assert 50 < shared.leases()[0].seconds <= 60


def test_a_takeover_waits_for_rows_that_are_being_stored(postgres: Server) -> None:
    """Between the look at the lease and the commit of the rows, nobody may take the cell."""
    import threading

    from harness.store import leases

    store = Store(postgres.database())
    store.add_cell(CELL)
    store.lease([CELL.key], "a", 0.2)
    time.sleep(0.3)
    order = []
    with store.engine._engine.begin() as connection:
        leases.must_hold(connection, "a", [CELL.key])
        taking = threading.Thread(
            target=lambda: order.append(("taken", store.lease([CELL.key], "b", 60)))
        )
        taking.start()
        time.sleep(0.5)
        order.append(("committed", None))
    taking.join()
    assert order == [("committed", None), ("taken", {CELL.key})]


def test_owners_are_told_apart() -> None:
    assert len({new_owner() for _ in range(100)}) == 100
    assert len(new_owner()) <= 200


def test_other_databases_are_refused(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    monkeypatch.setattr("harness.store.leases._CLOCK", {})
    with pytest.raises(BadInput, match="SQLite or PostgreSQL"):
        store.lease([CELL.key], "a", 60)


CELLS = [Cell(cell_key({"number": number}), {"number": number}, {}) for number in range(60)]

DRIVER = """
import json, os, sys, time
from pathlib import Path
from dataclasses import replace
from odd_rows import RESULT
from harness.store import Store, new_owner, result_id

url, folder, mortal = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "mortal"
store, owner, keys, done = Store(url), new_owner(), json.load(sys.stdin), []
finished = lambda: {row.cell for row in store.results()}
deadline = time.monotonic() + 100
while len(ended := finished()) < len(keys):
    assert time.monotonic() < deadline, "cells that nobody finishes"
    won = store.lease([key for key in keys if key not in ended], owner, 3, at_most=3)
    if mortal and won:
        os._exit(9)
    won -= finished()  # done between the two looks
    for key in won:
        os.close(os.open(folder / key, os.O_CREAT | os.O_EXCL))  # fails where another works on it
    assert won <= store.renew(owner, 3)
    for key in won:
        store.add_result(replace(RESULT, cell=key, id=result_id(key, 3)), held_by=owner)
        done.append(key)
        os.unlink(folder / key)
    store.release(owner)
    if not won:
        time.sleep(0.1)
print(json.dumps(done))
"""


def test_eight_processes_share_the_cells_and_two_of_them_die(url: str, tmp_path: Path) -> None:
    """Each cell is done by one of them; those of the dead when their leases have expired."""
    store = Store(url)
    store.add_cells(CELLS)
    working = tmp_path / "working"
    working.mkdir()
    command = [sys.executable, "-c", DRIVER, url, str(working)]
    path = {"PYTHONPATH": ":".join(entry for entry in sys.path if entry)}
    drivers = [
        subprocess.Popen(
            [*command, kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=path,
        )
        for kind in ["mortal"] * 2 + ["immortal"] * 6
    ]
    keys = json.dumps([cell.key for cell in CELLS])
    for driver in drivers:
        assert driver.stdin is not None
        driver.stdin.write(keys)
        driver.stdin.close()
        driver.stdin = None
    said = [driver.communicate(timeout=120) for driver in drivers]
    assert all(
        code in ((9, 0) if number < 2 else (0,))
        for number, code in enumerate(driver.returncode for driver in drivers)
    ), said
    done = [key for out, _ in said if out for key in json.loads(out)]
    assert sorted(done) == sorted(cell.key for cell in CELLS), "each once"
    assert {row.cell for row in store.results()} == set(done)
    assert sorted(row.id for row in store.results()) == sorted(
        result_id(cell.key, 3) for cell in CELLS
    )
    left = [lease.seconds for lease in store.leases() if lease.seconds > 0]
    assert all(seconds <= 3 for seconds in left), (
        "of a dead one, which took what another had just done"
    )
    time.sleep(max([0.0, *left]))
    assert [lease for lease in store.leases() if lease.seconds > 0] == []


def test_rows_are_taken_in_one_order_by_all(store: Store) -> None:
    """Else two drivers of a PostgreSQL store wait for each other's rows in a circle."""
    store.add_cells(replace(CELL, key=key) for key in "wxyz")
    taken: list[list[str]] = []

    def hear(connection, cursor, statement, parameters, context, many) -> None:
        if statement.startswith("INSERT INTO leases"):
            values = parameters.values() if isinstance(parameters, dict) else parameters
            taken.append([value for value in values if value in set("wxyz")])

    event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        store.lease(["z", "w", "y", "x"], "a", 60)
    finally:
        event.remove(sa.Engine, "before_cursor_execute", hear)
    assert taken == [["w", "x", "y", "z"]]
