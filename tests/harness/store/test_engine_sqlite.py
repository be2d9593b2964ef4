"""A SQLite file: one is left behind, nothing written by reading, what is none is refused, others'
are only read."""

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from odd_rows import CELL, FAILURE, RESULT
from sqlalchemy import event

from harness.errors import BadInput
from harness.store import LONGEST, Store, result_id


@pytest.fixture
def store(path: Path) -> Store:
    store = Store(path)
    store.add_cell(CELL)
    return store


def test_json_is_sorted(store: Store, path: Path) -> None:
    with sqlite3.connect(path) as connection:
        (identity,) = connection.execute("select identity from cells").fetchone()
    connection.close()
    assert (
        identity
        == '{"b": 1.0, "method": {"arguments": {"deep": false, "prompts": 5}, "name": "vpt"}}'
    )


def test_reading_an_absent_store_writes_nothing(path: Path) -> None:
    store = Store(path)
    assert store.cells() == store.trial_counts() == {}
    assert store.trials() == store.results() == store.failures() == []
    with pytest.raises(BadInput, match="no result"):
        store.result("ab")
    store.close()
    assert not path.parent.exists()


def test_one_file_is_left_behind(store: Store, path: Path) -> None:
    store.add_result(RESULT)
    store.results()
    assert [file.name for file in path.parent.iterdir()] == ["harness.db"]
    with sqlite3.connect(path) as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    connection.close()


def test_reads_while_another_writes(store: Store, path: Path) -> None:
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("begin immediate")
    writer.execute("delete from cells")
    assert list(store.cells()) == [CELL.key]
    writer.execute("rollback")
    writer.close()


def test_a_killed_writer_loses_only_its_open_transaction(store: Store, path: Path) -> None:
    script = (
        "import os, signal, sqlite3, sys\nc = sqlite3.connect(sys.argv[1],"
        " isolation_level=None)\nc.execute('begin immediate'); c.execute('delete from cells');"
        " os.kill(os.getpid(), signal.SIGKILL)"
    )
    store.add_result(RESULT)
    assert subprocess.run([sys.executable, "-c", script, path], check=False).returncode == -9
    store.add_failure(FAILURE)
    assert (store.results(), store.failures()) == ([RESULT], [FAILURE])


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but long enough to hold a header " * 50)
    for path in (text, tmp_path):
        for use in (Store(path).results, lambda path=path: Store(path).add_cell(CELL)):
            with pytest.raises(
                BadInput, match=f"store {path} can't be used: .*give another"
            ) as caught:
                use()
            assert "\n" not in str(caught.value)
    assert text.read_text().startswith("not a database, but")


def test_a_parent_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="can't be used"):
        Store(tmp_path / "file" / "harness.db").add_cell(CELL)


def test_an_empty_file_is_an_empty_store(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.touch()
    assert Store(path).results() == []
    Store(path).add_cell(CELL)
    assert list(Store(path).cells()) == [CELL.key]


def test_in_memory() -> None:
    store = Store("sqlite://")
    assert store.results() == []
    store.add_cell(CELL)
    store.add_result(RESULT)
    assert store.results() == [RESULT]
    store.close()


def test_a_foreign_store_is_only_read(store: Store, path: Path) -> None:
    store.add_result(RESULT)
    foreign = Store(path, foreign=True)
    assert foreign.results() == [RESULT]
    with pytest.raises(BadInput, match="opened read-only"):
        foreign.add_failure(FAILURE)
    assert [file.name for file in path.parent.iterdir()] == ["harness.db"]


def test_a_foreign_store_with_a_text_too_long_is_refused(store: Store, path: Path) -> None:
    store.add_failure(replace(FAILURE, reason="x" * (LONGEST + 1)))
    assert len(Store(path).failures()) == 1
    with pytest.raises(BadInput, match="too big"):
        Store(path, foreign=True).failures()


def test_a_foreign_store_that_is_empty_or_damaged_is_refused(
    store: Store, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.db").touch()
    with pytest.raises(BadInput, match="is empty"):
        Store(tmp_path / "empty.db", foreign=True).results()
    for seed in range(200):
        store.add_result(replace(RESULT, seed=seed, id=result_id(CELL.key, seed)))
    whole = path.read_bytes()
    (tmp_path / "damaged.db").write_bytes(whole[:8192] + bytes(4096) + whole[12288:])
    with pytest.raises(BadInput, match=r"damaged|malformed"):
        Store(tmp_path / "damaged.db", foreign=True).failures()


def test_a_foreign_store_is_read_where_nothing_can_be_written(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_result(RESULT)
    odd = path.with_name("what?is this#.db")
    path.rename(odd)
    monkeypatch.setattr("harness.store.engine.os.access", lambda *_: False)
    foreign, opened = Store(odd, foreign=True), []
    event.listen(
        foreign.engine._engine,
        "do_connect",
        lambda _, __, arguments, ___: opened.append(arguments[0]),
    )
    assert (foreign.results(), foreign.name, foreign.file) == ([RESULT], str(odd), odd)
    assert opened
    assert all(url.endswith("immutable=1") for url in opened), (
        "without it, SQLite would have to make files beside a write-ahead log"
    )
