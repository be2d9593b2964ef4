"""What a run asks of its store doesn't grow with what is finished: every statement finds its rows
by an index."""

import sqlite3
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from planned import begin, drive, plan, planned
from sqlalchemy import event

from harness.engine.scheduler import Scheduler
from harness.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "results.db")


@pytest.fixture
def asked() -> Iterator[list[tuple]]:
    """Statements and their values, as they go to a database."""
    seen: list[tuple] = []

    def hear(connection, cursor, statement, parameters, context, many) -> None:
        seen.append((statement, parameters[0] if many else parameters))

    event.listen(sa.Engine, "before_cursor_execute", hear)
    yield seen
    event.remove(sa.Engine, "before_cursor_execute", hear)


def scans(store: Store, asked: list[tuple]) -> list[str]:
    """Statements that walk through a table whose rows are what is finished."""
    found = []
    with sqlite3.connect(str(store.file)) as connection:
        for statement, values in asked:
            if statement.split()[0] not in ("SELECT", "INSERT", "UPDATE", "DELETE"):
                continue
            steps = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
            if any(
                step[3].startswith(f"SCAN {table}")
                for step in steps
                for table in ("trials", "results", "failures", "cells")
            ):
                found.append(statement)
    connection.close()
    return found


def test_every_statement_of_a_run_finds_its_rows_by_an_index(store: Store, asked: list[tuple]):
    run = plan(planned("one"), planned("two"))
    drive(begin(run, store), stop_after=5)
    asked.clear()
    scheduler = Scheduler(run, store)
    drive(scheduler)
    assert scheduler.finished
    assert {statement.split()[0] for statement, _ in asked} >= {"SELECT", "INSERT", "DELETE"}
    assert scans(store, asked) == []


def test_counts_are_read_from_the_index_alone(store: Store, asked: list[tuple]):
    drive(begin(plan(), store))
    asked.clear()
    store.progress([cell.key for cell in plan().cells])
    (counted,) = [(statement, values) for statement, values in asked if "count(" in statement]
    with sqlite3.connect(str(store.file)) as connection:
        steps = [
            step[3] for step in connection.execute(f"EXPLAIN QUERY PLAN {counted[0]}", counted[1])
        ]
    connection.close()
    assert any("USING COVERING INDEX trials_by_state" in step for step in steps), steps


def test_a_scan_would_be_seen(store: Store, asked: list[tuple]):
    drive(begin(plan(), store))
    asked.clear()
    store.runs(("id",))
    assert len(scans(store, asked)) == 1


def test_trials_are_read_when_a_job_of_their_cell_is_asked_for(store: Store, asked: list[tuple]):
    cells = [planned(f"task{number}") for number in range(50)]
    drive(begin(plan(*cells), store), stop_after=40)
    asked.clear()
    scheduler = Scheduler(plan(*cells), store)
    at_start = len(asked)
    assert not any("trials.params" in statement for statement, _ in asked)
    scheduler.next("a")
    assert sum("trials.params" in statement for statement, _ in asked) == 1
    assert at_start < 30, "a handful of statements, however many cells"
