"""Databases that are locked, restarted, out of reach or that die in mid-commit: waited for, told,
and nothing is lost or doubled."""

import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from odd_rows import CELL, FAILURE, OTHER, RESULT, THEIRS, TRIAL
from postgres_server import SECRET, Server

from harness.errors import BadInput
from harness.store import DuplicateResult, DuplicateTrial, LeaseLost, Store
from harness.store.tables import schema


def everything(url: str) -> dict[str, list[Any]]:
    """All rows as they are stored, without the order of insertion and the ends of leases."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        columns = {
            table: [column for column in table.c if column.name not in ("row", "expires")]
            for table in schema.sorted_tables
        }
        return {
            table.name: sorted(connection.execute(sa.select(*columns[table])).all(), key=str)
            for table in columns
        }


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite gives its own waiting up soon, and a second is no secret."""
    monkeypatch.setattr("harness.store.engine._BUSY_SECONDS", 0.1)
    monkeypatch.setattr("harness.store.retry.QUIET", 0.2)


def locked(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("begin immediate")
    return connection


@pytest.mark.usefixtures("impatient")
def test_a_locked_file_is_waited_for(path: Path) -> None:
    Store(path).add_cell(CELL)
    said: list[str] = []
    other = locked(path)
    timer = threading.Timer(1.0, lambda: other.execute("rollback"))
    timer.start()
    Store(path, say=said.append).add_result(RESULT)
    timer.join()
    other.close()
    assert Store(path).results() == [RESULT]
    waits, answers = said
    assert (
        waits == f"the store {path} doesn't respond (database is locked): waiting up to 120 s ..."
    )
    assert answers.startswith(f"the store {path} responds again, after ")


@pytest.mark.usefixtures("impatient")
def test_a_file_locked_for_too_long_is_one_line_and_works_again_after(path: Path) -> None:
    store = Store(path, say=lambda _: None, patience=0.5)
    store.add_cell(CELL)
    other = locked(path)
    with pytest.raises(
        BadInput,
        match=r"hasn't responded for \d s \(database is locked\)\. Everything stored is safe",
    ) as caught:
        store.add_result(RESULT)
    assert "\n" not in str(caught.value)
    other.execute("rollback")
    other.close()
    store.add_result(RESULT)
    assert store.results() == [RESULT]


def test_a_short_wait_is_not_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.store.engine._BUSY_SECONDS", 0.01)
    monkeypatch.setattr("harness.store.retry.QUIET", 60.0)
    Store(path).add_cell(CELL)
    other = locked(path)
    timer = threading.Timer(0.3, lambda: other.execute("rollback"))
    timer.start()
    Store(path, say=pytest.fail).add_result(RESULT)
    timer.join()
    other.close()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
def test_a_server_that_starts_again_is_waited_for(postgres: Server, how: signal.Signals) -> None:
    url, said = postgres.database(), list[str]()
    store = Store(url, say=said.append)
    store.add_cell(CELL)
    for use in (
        lambda: store.add_trials([TRIAL]),
        lambda: store.add_result(RESULT),
        lambda: store.lease([CELL.key], "me", 60),
        store.results,
    ):
        said.clear()
        postgres.stop(how)
        with ThreadPoolExecutor(1) as pool:
            used = pool.submit(use)
            time.sleep(1.0)
            postgres.start()
            used.result()
        assert len(said) == 2
        assert "doesn't respond" in said[0]
        assert "responds again" in said[1]
    assert (store.trials(), store.results(), [lease.owner for lease in store.leases()]) == (
        [TRIAL],
        [RESULT],
        ["me"],
    )


@pytest.mark.usefixtures("impatient")
def test_a_server_that_stays_away_is_one_line_and_works_again_after(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pauses are drawn: a second may pass without a look after 0.2 s
    monkeypatch.setattr("harness.store.retry.QUIET", 0.0)
    said: list[str] = []
    store, new = (Store(postgres.database(), say=said.append, patience=1.0) for _ in range(2))
    store.add_cell(CELL)
    postgres.stop()
    try:
        for use in (store.results, lambda: store.add_result(RESULT), new.cells):
            with pytest.raises(
                BadInput,
                match=r"hasn't responded for \d s \(.*refused.*\)\. Everything stored is safe",
            ) as caught:
                use()
            assert "\n" not in str(caught.value)
        assert len(said) == 3
    finally:
        postgres.start()
    store.add_result(RESULT)
    assert store.results() == [RESULT]
    assert new.cells() == {}


def test_a_server_that_refuses_is_not_waited_for(postgres: Server) -> None:
    good = postgres.address("team", "postgres", "postgresql+psycopg")
    bad = {
        "password authentication failed": postgres.address("team", "postgres", secret="wrong"),
        'database "absent" does not exist': postgres.address("team", "absent"),
        "failed to resolve host": good.replace("127.0.0.1", "absent.invalid"),
        "permission denied": good,  # to make tables there
    }
    for says, url in bad.items():
        with pytest.raises(BadInput, match=says) as caught:
            Store(url, say=pytest.fail).add_cell(CELL)
        assert "\n" not in str(caught.value)
        assert SECRET not in str(caught.value)


class Cutter:
    """Between a store and its server. Once armed, it cuts the connection at the next COMMIT: before
    the server has it, or after."""

    def __init__(self, server: Server):
        self.server, self.armed, self.cuts = server, "", 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.server.port)) as server:
            back = threading.Thread(target=self._back, args=(server, client), daemon=True)
            back.start()
            with suppress(OSError):
                while data := client.recv(1 << 16):
                    if b"COMMIT\0" in data and self.armed:
                        self.cuts += 1
                        if self.armed == "before":
                            self.armed = ""
                            break
                    server.sendall(data)
            self._end(client, server)
            back.join()

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if b"COMMIT\0" in data and self.armed == "after":
                    self.armed = ""
                    break  # committed, and nobody knows
                client.sendall(data)
        self._end(client, server)

    def _end(self, *connections: socket.socket) -> None:
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def cutter(postgres: Server) -> Iterator[Cutter]:
    found = Cutter(postgres)
    yield found
    found.close()


SEED_4 = replace(RESULT, seed=4, id="4" * 12)
CALLS: dict[str, Callable[[Store], Any]] = {
    "add_cells": lambda store: store.add_cells(
        [OTHER, replace(CELL, labels={"variant": "renamed"})]
    ),
    "add_trials": lambda store: store.add_trials(
        [replace(TRIAL, number=number) for number in range(1, 400)]
    ),
    "add_trials held": lambda store: store.add_trials([replace(TRIAL, number=1)], held_by="me"),
    "add_results": lambda store: store.add_results(
        [replace(RESULT, seed=seed, id=f"{seed:012}") for seed in range(10, 400)]
    ),
    "add_result made good": lambda store: store.add_result(
        replace(RESULT, seed=FAILURE.seed, id="5" * 12)
    ),
    "add_failure": lambda store: store.add_failure(replace(FAILURE, reason="another")),
    "clear_failure": lambda store: store.clear_failure(CELL.key, FAILURE.seed),
    "add": lambda store: store.add(
        [CELL, OTHER],
        [replace(TRIAL, cell=OTHER.key)],
        [THEIRS],
        [replace(FAILURE, cell=OTHER.key)],
    ),
    "remove": lambda store: store.remove([RESULT.id], [(CELL.key, FAILURE.seed)], [CELL.key]),
    "lease": lambda store: store.lease([CELL.key], "me", 60.0),
    "renew": lambda store: store.renew("me", 60.0),
    "release": lambda store: store.release("me"),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_a_commit_whose_answer_is_lost_is_done_once(
    postgres: Server, cutter: Cutter, call: str, when: str
) -> None:
    found = []
    for cut in (False, True):
        url = postgres.database()
        store = Store(url.replace(str(postgres.port), str(cutter.port)), say=pytest.fail)
        store.add([CELL], [TRIAL], [RESULT, SEED_4] if call == "add" else [RESULT], [FAILURE])
        store.lease([CELL.key], "me", 30.0)
        cutter.armed, cutter.cuts = when if cut else "", 0
        gave = CALLS[call](store)
        assert (cutter.cuts, cutter.armed) == (int(cut), "")
        found.append((gave, everything(url)))
        store.close()
    assert found[0] == found[1], "as without a cut"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_real_duplicate_is_still_one(postgres: Server, cutter: Cutter, when: str) -> None:
    url = postgres.database()
    store = Store(url.replace(str(postgres.port), str(cutter.port)), say=pytest.fail)
    store.add([CELL], [TRIAL], [RESULT])
    cutter.armed = when
    store.add_trials([replace(TRIAL, number=1)])
    for _ in range(2):
        with pytest.raises(DuplicateTrial):
            store.add_trials([replace(TRIAL, number=1)])
        with pytest.raises(DuplicateResult):
            store.add_result(replace(RESULT, score=1.0))
    with pytest.raises(LeaseLost):
        store.add_trials([replace(TRIAL, number=2)], held_by="me")
    assert (len(store.trials()), store.results()) == (2, [RESULT])


def test_a_lock_on_a_server_is_waited_for(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.store.engine.LOCK_SECONDS", 0.3)
    monkeypatch.setattr("harness.store.retry.QUIET", 0.0)
    url, said = postgres.database(), list[str]()
    store = Store(url, say=said.append)
    store.add_cell(CELL)
    other = sa.create_engine(url, poolclass=sa.NullPool).connect()
    other.exec_driver_sql("lock table results")

    def release() -> None:
        while not said:
            time.sleep(0.05)
        other.close()

    thread = threading.Thread(target=release)
    thread.start()
    store.add_result(RESULT)
    thread.join()
    assert "lock timeout" in said[0]
    assert store.results() == [RESULT]
