"""Results in SQL: cells, the trials of their searches, one row per final run, and failures. Each
call that writes is one transaction.

A SQLite file by default (write-ahead log, so that a report can read while a run writes), a
PostgreSQL server for a team, or any URL that SQLAlchemy understands. A call waits if the database
is busy or unreachable, and does nothing twice.
"""

import json
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from harness.errors import BadInput
from harness.io import commands
from harness.store import leases
from harness.store.columns import columns, pack, unpack
from harness.store.engine import Engine
from harness.store.leases import Lease
from harness.store.records import Cell, Failure, Progress, Result, Row, Trial
from harness.store.retry import PATIENCE
from harness.store.schema import lock_schema
from harness.store.tables import batches, of
from harness.store.tables import cells as _cells
from harness.store.tables import failures as _failures
from harness.store.tables import results as _results
from harness.store.tables import trials as _trials

RUN_COLUMNS = tuple(column.name for column in columns(Result) if not column.json)
"""Columns of results that are plain values."""


def _to_stderr(line: str) -> None:
    print(f"harness: {line}", file=sys.stderr, flush=True)


class Duplicate(RuntimeError):
    """A row to be added is already stored."""


class DuplicateResult(Duplicate):
    """A result for this (cell, seed), or with this id, is already stored."""


class DuplicateTrial(Duplicate):
    """A trial for this (cell, number) is already stored: another run is filling the same cell."""


class Store:
    """What was measured. A store that doesn't exist reads as empty and is created by the first call
    that writes.

    A call waits for a database that is locked, restarting or unreachable, and says so. What it
    writes is stored once, even if the response to a commit was lost. Every method raises `BadInput`
    if the database can't be used: unresponsive for too long, full, not a database, another
    program's, or of a later version.
    """

    def __init__(
        self,
        url: str | Path,
        foreign: bool = False,
        say: Callable[[str], None] = _to_stderr,
        patience: float = PATIENCE,
    ) -> None:
        """`url`: any SQLAlchemy URL, or a plain path, which means a SQLite file. Touches nothing.

        `foreign`: somebody else's, only to be read; it is refused if it is empty, damaged or has a
        text longer than `LONGEST`. `say`: called with a line when the store waits, or was
        migrated. `patience`: seconds that a call waits at most.
        """
        self.engine = Engine(str(url), foreign, say, patience)

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for another database, or one in memory."""
        return self.engine.address.file

    @property
    def argument(self) -> str | None:
        """The store as `--store` takes it, without secrets; None for one in memory."""
        address = self.engine.address
        return None if address.file is None and address.backend == "sqlite" else address.argument

    @property
    def name(self) -> str:
        """The store as a message names it: its file, or its URL without the password."""
        return self.engine.address.name

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints: for `NAME.db`, `NAME.checkpoints` next to it; for another
        database, `results/harness.checkpoints` in the current folder."""
        return (
            self.file.absolute().with_suffix(".checkpoints")
            if self.file
            else Path("results/harness.checkpoints").absolute()
        )

    @property
    def configs(self) -> Path | None:
        """The folder of the configs that filled it: for `NAME.db`, `NAME.configs` next to it; for
        another database, `results/harness.configs` in the current folder; None for one in
        memory."""
        if self.argument is None:
            return None
        return self.file.with_suffix(".configs") if self.file else Path("results/harness.configs")

    @property
    def page(self) -> Path:
        """Where a run writes the page: for `NAME.db`, `NAME.html` next to it; for another database,
        `results/harness.html`."""
        return self.file.with_suffix(".html") if self.file else Path("results/harness.html")

    def add_cell(self, cell: Cell) -> None:
        """Adds a cell; an existing one keeps its identity and gets the new labels."""
        self.add_cells([cell])

    def add_cells(self, cells: Iterable[Cell]) -> None:
        """Adds cells in one transaction; existing ones keep their identities and get the new
        labels."""
        new = {cell.key: pack(cell) for cell in cells}

        def work(connection: sa.Connection, _: bool) -> None:
            lock_schema(connection)
            stored = {row["key"]: row for row in _stored(connection, _cells, new)}
            for key, values in new.items():
                if key in stored and stored[key]["identity"] != values["identity"]:
                    raise ValueError(f"cell {key} is stored with a different identity")
            if fresh := [values for key, values in new.items() if key not in stored]:
                connection.execute(sa.insert(_cells), fresh)
            for key, row in stored.items():
                if row["labels"] != new[key]["labels"]:
                    connection.execute(
                        sa.update(_cells)
                        .where(_cells.c.key == key)
                        .values(labels=new[key]["labels"])
                    )

        if new:
            self.engine.write(work)

    def cells(self) -> dict[str, Cell]:
        """All cells by key, in the order they were added, that of a plan."""
        return {cell.key: cell for cell in self._select(Cell, _cells.c.row)}

    def add_trials(self, trials: Sequence[Trial], held_by: str | None = None) -> None:
        """Adds all of them or none. Raises `DuplicateTrial`; and `LeaseLost` if `held_by`
        doesn't hold the lease of their cell."""
        try:
            self._add(_trials, trials, held_by)
        except IntegrityError as error:
            stored = {
                (trial.cell, trial.number)
                for key in {trial.cell for trial in trials}
                for trial in self.trials(key)
            }
            if any((trial.cell, trial.number) in stored for trial in trials):
                raise DuplicateTrial(
                    f"cell {trials[0].cell}: another run has stored its trial {trials[0].number}"
                ) from error
            raise

    def trials(self, cell_key: str | None = None) -> list[Trial]:
        """Trials of a cell, or all, by number."""
        return self._select(Trial, _trials.c.cell, _trials.c.number, cell=cell_key)

    def best_trials(self, cell_key: str) -> list[Trial]:
        """The completed trial of a cell with the highest value; in case of ties all of them, by
        number."""
        complete = sa.and_(_trials.c.cell == cell_key, _trials.c.state == "complete")
        best = sa.select(sa.func.max(_trials.c.value)).where(complete).scalar_subquery()
        return self._select(
            Trial, _trials.c.number, where=sa.and_(complete, _trials.c.value == best)
        )

    def trial_counts(self) -> dict[str, dict[str, int]]:
        """How many trials each cell has, by state: {cell key: {"complete": 8, "pruned": 2}}. Reads
        an index, not the trials."""
        counts: dict[str, dict[str, int]] = {}
        for cell, state, count in self._rows(_COUNTED):
            counts.setdefault(cell, {})[state] = count
        return counts

    def progress(self, cells: Iterable[str]) -> dict[str, Progress]:
        """What is stored for each of these cells (keys), from one snapshot. Reads indexes, not the
        trials."""
        progress = {key: Progress({}, {}, {}) for key in cells}

        def work(connection: sa.Connection, _: int) -> dict[str, Progress]:
            for batch in batches(list(progress)):
                for cell, state, count in connection.execute(
                    _COUNTED.where(_trials.c.cell.in_(batch))
                ):
                    progress[cell].trials[state] = count
                for cell, seed, score in connection.execute(
                    _SCORED.where(_results.c.cell.in_(batch))
                ):
                    progress[cell].scores[seed] = score
                for row in connection.execute(
                    sa.select(_failures).where(_failures.c.cell.in_(batch))
                ).mappings():
                    progress[row["cell"]].failures[row["seed"]] = unpack(Failure, row)
            return progress

        return self.engine.read(work, progress)

    def failed_trials(self, cells: Collection[str], at_most: int) -> list[str | None]:
        """Reasons of the failed trials of these cells, the first `at_most` in the index."""
        reasons: list[str | None] = []
        for batch in batches(list(cells)):
            failed = sa.select(_trials.c.reason).where(
                _trials.c.cell.in_(batch), _trials.c.state == "failed"
            )
            reasons += [row.reason for row in self._rows(failed.limit(at_most - len(reasons)))]
            if len(reasons) >= at_most:
                break
        return reasons

    def trial_units(self) -> dict[str, float]:
        """Forward-image units that each cell's search took, by cell key."""
        query = sa.select(_trials.c.cell, sa.func.sum(_trials.c.units)).group_by(_trials.c.cell)
        return {cell: float(units) for cell, units in self._rows(query)}

    def add_result(self, result: Result, held_by: str | None = None) -> None:
        """Adds a final run. Raises `DuplicateResult`, and `LeaseLost` like `add_trials`."""
        self.add_results([result], held_by)

    def add_results(self, results: Sequence[Result], held_by: str | None = None) -> None:
        """Adds all of them or none, and removes their failures. Raises `DuplicateResult`, and
        `LeaseLost` like `add_trials`."""
        try:
            self._add(_results, results, held_by)
        except IntegrityError as error:
            stored = self.runs(("id", "cell", "seed"))
            ids, seeds = (
                {other["id"] for other in stored},
                {(other["cell"], other["seed"]) for other in stored},
            )
            for result in results:
                if result.id in ids or (result.cell, result.seed) in seeds:
                    raise DuplicateResult(
                        f"result {result.id} (cell {result.cell}, seed {result.seed}) is already"
                        " stored"
                    ) from error
                ids.add(result.id)
                seeds.add((result.cell, result.seed))
            raise

    def results(self, cell_key: str | None = None) -> list[Result]:
        """Final runs of a cell, or all, in the order they were stored."""
        return self._select(Result, _results.c.row, cell=cell_key)

    def runs(self, columns: Sequence[str]) -> list[dict[str, Any]]:
        """These columns, of `RUN_COLUMNS`, for all final runs, in the order they were stored:
        cheap, as they aren't JSON."""
        if unknown := set(columns) - set(RUN_COLUMNS):
            raise ValueError(f"{', '.join(sorted(unknown))}: not among {', '.join(RUN_COLUMNS)}")
        query = sa.select(*(_results.c[name] for name in columns)).order_by(_results.c.row)
        return [dict(row._mapping) for row in self._rows(query)]

    def provenance(self, *names: str) -> dict[str, dict[str, Any]]:
        """These entries of the provenance of final runs, by id, of those that a run has."""
        query = sa.select(_results.c.id, _results.c.provenance)
        return {
            id: {name: made[name] for name in names if name in made}
            for id, text in self._rows(query)
            for made in (json.loads(text),)
        }

    def extras(self) -> dict[str, dict[str, Any]]:
        """What else was measured in final runs, by id, for those with any."""
        query = sa.select(_results.c.id, _results.c.extras).where(_results.c.extras.is_not(None))
        return {id: json.loads(text) for id, text in self._rows(query)}

    def add_extras(self, id: str, extras: Mapping[str, Any]) -> None:
        """Adds to the extras of the final run `id`, or replaces some of them. Raises `ValueError`
        for NaN and infinity."""

        def work(connection: sa.Connection, _: bool) -> None:
            before = connection.execute(
                sa.select(_results.c.extras).where(_results.c.id == id)
            ).scalar_one()
            text = json.dumps(
                {**json.loads(before or "{}"), **extras}, sort_keys=True, allow_nan=False
            )
            connection.execute(sa.update(_results).where(_results.c.id == id).values(extras=text))

        self.engine.write(work)

    def result(self, id_or_prefix: str) -> tuple[Result, Cell]:
        """The final run with this id, or the only one with this prefix, and its cell. Raises
        `BadInput`."""

        def work(connection: sa.Connection, schema: int) -> tuple[list[str], tuple | None]:
            ids = _ids(connection, id_or_prefix)
            if len(ids) != 1:
                return ids, None
            (row,) = _read(connection, schema, Result, _results.c.id == ids[0])
            (cell,) = _read(connection, schema, Cell, _cells.c.key == row.cell)
            return ids, (row, cell)

        ids, result = self.engine.read(work, ([], None))
        if result is not None:
            return result
        if ids:
            shown = ", ".join(ids[:4]) + (", ..." if len(ids) > 4 else "")
            raise BadInput(
                f"{len(ids)} ids start with '{id_or_prefix}': {shown}. Give more digits."
            )
        raise BadInput(
            f"no result '{id_or_prefix}' in {self.name}:"
            f" `{commands.command('results', 'list', store=self)}` lists the ids."
        )

    def ids(self, prefix: str) -> list[str]:
        """Ids of final runs with this prefix, in the order they were stored."""
        return self.engine.read(lambda connection, _: _ids(connection, prefix), [])

    def add_failure(self, failure: Failure) -> None:
        """Records that a final run failed, replacing an earlier record."""

        def work(connection: sa.Connection, _: bool) -> None:
            connection.execute(_failure_of(failure.cell, failure.seed))
            connection.execute(sa.insert(_failures).values(pack(failure)))

        self.engine.write(work)

    def failures(self, cell_key: str | None = None) -> list[Failure]:
        """Failures of a cell, or of all, by seed."""
        return self._select(Failure, _failures.c.cell, _failures.c.seed, cell=cell_key)

    def clear_failure(self, cell: str, seed: int) -> None:
        """Removes a failure, if there is one."""
        self.engine.write(lambda connection, _: connection.execute(_failure_of(cell, seed)))

    def add(
        self,
        cells: Iterable[Cell],
        trials: Iterable[Trial] = (),
        results: Iterable[Result] = (),
        failures: Iterable[Failure] = (),
    ) -> None:
        """Adds rows of every kind, all or none. Existing cells stay as they are; failures that now
        have a result are removed.

        Raises `Duplicate`, and whatever the iterables raise.
        """
        named = {cell.key: cell for cell in cells}
        rest = [
            (table, list(rows))
            for table, rows in ((_trials, trials), (_results, results), (_failures, failures))
        ]

        def work(connection: sa.Connection, again: bool) -> None:
            lock_schema(connection)
            stored = set(connection.execute(sa.select(_cells.c.key)).scalars())
            _insert(
                connection,
                _cells,
                [cell for key, cell in named.items() if key not in stored],
                again,
            )
            for table, rows in rest:
                _insert(connection, table, rows, again)
            done = sa.exists().where(
                _results.c.cell == _failures.c.cell, _results.c.seed == _failures.c.seed
            )
            connection.execute(sa.delete(_failures).where(done))

        try:
            self.engine.write(work)
        except IntegrityError as error:
            raise Duplicate(
                f"rows to be added to {self.name} clash with stored ones: {error.orig}"
            ) from error

    def remove(
        self,
        results: Collection[str] = (),
        failures: Collection[tuple[str, int]] = (),
        searches: Collection[str] = (),
    ) -> dict[str, int]:
        """Removes results by id and failures by (cell, seed); and the trials and failures of cells
        in `searches` that have no result left.

        A cell is removed when nothing of it is left. All in one transaction. Returns how many rows
        of each table were removed.
        """
        ids, seeds, keys = (
            [{"a": id} for id in results],
            [{"a": cell, "b": seed} for cell, seed in failures],
            [{"a": k} for k in searches],
        )
        one, two, key = sa.bindparam("a"), sa.bindparam("b"), _cells.c.key
        without = {
            table: ~sa.exists().where(table.c.cell == one)
            for table in (_results, _trials, _failures)
        }
        counts = {"cells": 0, "trials": 0, "results": 0, "failures": 0}

        def work(connection: sa.Connection, _: bool) -> None:
            stored = (
                {
                    row.id: row.cell
                    for row in connection.execute(sa.select(_results.c.id, _results.c.cell))
                }
                if ids
                else {}
            )
            touched = (
                {stored[id] for id in results if id in stored}
                | {cell for cell, _ in failures}
                | set(searches)
            )
            steps = [
                ("results", sa.delete(_results).where(_results.c.id == one), ids),
                (
                    "failures",
                    sa.delete(_failures).where(_failures.c.cell == one, _failures.c.seed == two),
                    seeds,
                ),
                (
                    "trials",
                    sa.delete(_trials).where(_trials.c.cell == one, without[_results]),
                    keys,
                ),
                (
                    "failures",
                    sa.delete(_failures).where(_failures.c.cell == one, without[_results]),
                    keys,
                ),
                (
                    "cells",
                    sa.delete(_cells).where(key == one, *without.values()),
                    [{"a": cell} for cell in touched],
                ),
            ]
            deleted = dict.fromkeys(counts, 0)
            for name, statement, values in steps:
                deleted[name] += connection.execute(statement, values).rowcount if values else 0
            # a second attempt finds nothing left to remove
            counts.update({name: max(counts[name], count) for name, count in deleted.items()})

        self.engine.write(work)
        return counts

    def lease(
        self, cells: Iterable[str], owner: str, seconds: float, at_most: int | None = None
    ) -> set[str]:
        """Leases those of `cells` (keys, in order of preference) that are free, expired or already
        `owner`'s; returns which.

        Atomically, so that no cell belongs to two drivers (see `harness.store.leases`). `at_most`:
        how many. The cells must be in the store.
        """
        keys = list(cells)
        return self.engine.write(
            lambda connection, _: leases.take(connection, keys, owner, seconds, at_most)
        )

    def renew(self, owner: str, seconds: float) -> set[str]:
        """Extends all leases of `owner`; returns the cells that it still holds. The others are
        lost."""
        return self.engine.write(lambda connection, _: leases.renew(connection, owner, seconds))

    def release(self, owner: str, cells: Collection[str] | None = None) -> None:
        """Releases what `owner` holds: these cells, or all."""
        self.engine.write(lambda connection, _: leases.release(connection, owner, cells))

    def leases(self) -> list[Lease]:
        """All leases, expired ones too, by cell."""
        return self.engine.read(lambda connection, _: leases.held(connection), [])

    def state(self) -> str:
        """A short text that changes when rows are added, removed or replaced: their number, and the
        newest."""

        def work(connection: sa.Connection, _: int) -> list[Any]:
            parts: list[Any] = []
            for table in (_cells, _results):
                parts += connection.execute(
                    sa.select(sa.func.count(), sa.func.max(table.c.row)).select_from(table)
                ).one()
            parts.append(
                connection.execute(sa.select(sa.func.count()).select_from(_trials)).scalar()
            )
            return [
                *parts,
                *connection.execute(
                    sa.select(sa.func.count(), sa.func.max(_failures.c.created))
                ).one(),
            ]

        return "-".join(str(part or 0) for part in self.engine.read(work, []))

    def check_writable(self) -> None:
        """Raises `BadInput` where it can be told, without writing anything, that rows can't be
        stored."""
        self.engine.check_writable()

    @property
    def changed(self) -> int:
        """When the files of a store in one last changed: nanoseconds since 1970. Raises `OSError`
        where there are none."""
        return self.engine.changed

    def migrate(self) -> int | None:
        """Migrates an older store, as the first call that writes would; returns its previous
        schema, None without a store."""
        return self.engine.migrate()

    def held_open(self) -> AbstractContextManager[None]:
        """Inside, a SQLite file keeps its log between calls, which halves the cost of a write."""
        return self.engine.held_open()

    def close(self) -> None:
        """Closes the connections; the store reopens when it is used again."""
        self.engine.close()

    def _add(
        self, table: sa.Table, rows: Sequence[Trial] | Sequence[Result], held_by: str | None
    ) -> None:
        def work(connection: sa.Connection, again: bool) -> None:
            if held_by is not None:
                leases.must_hold(connection, held_by, {row.cell for row in rows})
            _insert(connection, table, rows, again)
            if table is _results:
                made_good = _failure_of(sa.bindparam("a"), sa.bindparam("b"))
                connection.execute(
                    made_good,
                    [{"a": row.cell, "b": row.seed} for row in rows if isinstance(row, Result)],
                )

        if rows:
            self.engine.write(work)

    def _select(
        self,
        record: type[Row],
        *order: sa.Column,
        cell: str | None = None,
        where: sa.ColumnElement[bool] | None = None,
    ) -> list[Row]:
        if cell is not None:
            where = of[record].c.cell == cell
        return self.engine.read(
            lambda connection, schema: _read(connection, schema, record, where, *order), []
        )

    def _rows(self, query: sa.Select) -> Sequence[Any]:
        return self.engine.read(lambda connection, _: connection.execute(query).all(), [])


_COUNTED = sa.select(_trials.c.cell, _trials.c.state, sa.func.count()).group_by(
    _trials.c.cell, _trials.c.state
)
_SCORED = sa.select(_results.c.cell, _results.c.seed, _results.c.score)
_NAMED_BY = {
    _cells: _cells.c.key,
    _trials: _trials.c.cell,
    _results: _results.c.cell,
    _failures: _failures.c.cell,
}


def _insert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Cell | Trial | Result | Failure],
    again: bool,
) -> None:
    """Adds rows, a few hundred at a time; if this is done `again`, except those that are already
    stored identically."""
    for batch in ([pack(row) for row in part] for part in batches(rows)):
        if again:
            keys = {values[_NAMED_BY[table].name] for values in batch}
            stored = {
                tuple(row[name] for name in batch[0]) for row in _stored(connection, table, keys)
            }
            batch = [values for values in batch if tuple(values.values()) not in stored]
        if batch:
            connection.execute(sa.insert(table), batch)


def _read(
    connection: sa.Connection,
    schema: int,
    record: type[Row],
    where: sa.ColumnElement[bool] | None,
    *order: sa.Column,
) -> list[Row]:
    """Rows of a store of this schema, which lacks later columns."""
    names = [column.name for column in columns(record) if column.since <= schema]
    query = sa.select(*(of[record].c[name] for name in names)).order_by(*order)
    if where is not None:
        query = query.where(where)
    return [unpack(record, row) for row in connection.execute(query).mappings()]


def _ids(connection: sa.Connection, prefix: str) -> list[str]:
    """Ids of results with this prefix, by a range of their index."""
    prefix = prefix.strip().lower()
    if not re.fullmatch("[0-9a-f]{1,12}", prefix):
        return []
    id = _results.c.id
    within = [id >= prefix, id.startswith(prefix)]
    # Danish and Norwegian servers sort "aa" after "z": with a final "a" the range starts early
    if stem := prefix.rstrip("a"):
        within.append(id < stem[:-1] + _NEXT[stem[-1]])
    query = sa.select(id).where(*within).order_by(_results.c.row)
    return list(connection.execute(query).scalars())


_NEXT = dict(zip("0123456789abcdef", "123456789abcdefg", strict=True))


def _stored(
    connection: sa.Connection, table: sa.Table, keys: Collection[str]
) -> Iterator[sa.RowMapping]:
    """The rows of cells with these keys."""
    for batch in batches(list(keys)):
        yield from connection.execute(
            sa.select(table).where(_NAMED_BY[table].in_(batch))
        ).mappings()


def _failure_of(cell: Any, seed: Any) -> sa.Delete:
    return sa.delete(_failures).where(_failures.c.cell == cell, _failures.c.seed == seed)
