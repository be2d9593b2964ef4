"""Results in SQL: cells, the trials of their search, one row a final run, and what failed. Each call that writes is one transaction.

A SQLite file by default (write-ahead log, so that a report can read while a run writes), or any URL that SQLAlchemy understands.
"""

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.pool import NullPool, StaticPool

from harness.errors import BadInput
from harness.plain import plain
from harness.store.rows import Cell, Failure, Result, Row, Trial, pack, unpack
from harness.store.tables import cells as _cells
from harness.store.tables import failures as _failures
from harness.store.tables import meta as _meta
from harness.store.tables import results as _results
from harness.store.tables import schema as _schema
from harness.store.tables import trials as _trials

SCHEMA = 1
"""Version of the tables; a store of a later version is refused."""

RUN_COLUMNS = ("id", "cell", "seed", "score", "trainable", "head_params", "logits_sha256", "seconds", "memory", "units", "created")
"""Of results, those that are plain values."""

LONGEST = 1_000_000
"""Bytes of the longest text that is read from a foreign store."""

_BUSY_SECONDS = 30


class Duplicate(RuntimeError):
    """A row that was to be added is stored already."""


class DuplicateResult(Duplicate):
    """A result of this (cell, seed), or with this id, is stored already."""


class DuplicateTrial(Duplicate):
    """A trial of this (cell, number) is stored already: another run is filling the same cell."""


class Store:
    """What was measured. A store that doesn't exist reads as empty and is made by the first call that writes.

    Every method raises `BadInput` where the database can't be used: not a database, another program's, of a later version, full, locked.
    """

    def __init__(self, url: str | Path, foreign: bool = False):
        """`url`: any SQLAlchemy URL, or a plain path, which means a SQLite file. Touches nothing.

        `foreign`: somebody else's, to be read only; it is refused where it is empty, damaged or holds a text above `LONGEST`.
        """
        text, self._foreign = str(url), foreign
        self._mend = "get it again from where it comes from" if foreign else "give another --store"
        try:
            self._url = sa.make_url(text) if "://" in text else sa.URL.create("sqlite", database=text)
            self._sqlite = self._url.get_backend_name() == "sqlite"
            self._file = Path(self._url.database) if self._sqlite and self._url.database not in (None, "", ":memory:") else None
            pool: dict[str, Any] = {}
            if self._sqlite:
                pool = {"poolclass": NullPool if self._file else StaticPool, "connect_args": {"timeout": _BUSY_SECONDS}}
            self._engine = sa.create_engine(self._unlocked() if foreign else self._url, **pool)
            if text == "":
                raise ArgumentError("an empty URL")  # which SQLite would take for a database that ends with the process
        except (ArgumentError, NoSuchModuleError) as error:
            raise BadInput(f"store '{text}' is neither a file nor an SQLAlchemy URL such as sqlite:///results/harness.db.") from error
        except ModuleNotFoundError as error:
            raise BadInput(f"store {self.name}: install its driver, {error.name}.") from error
        if self._sqlite:
            event.listen(self._engine, "connect", _set_up_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
            if foreign:
                event.listen(self._engine, "connect", _set_up_foreign)
        self._exists = False

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for another database, or one in memory."""
        return self._file

    @property
    def name(self) -> str:
        """The store as a message names it: its file, or its URL without the password."""
        return str(self._file) if self._file else self._url.render_as_string(hide_password=True)

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie: beside `NAME.db`, `NAME.checkpoints`; of another database, `results/harness.checkpoints` where one is."""
        return self._file.absolute().with_suffix(".checkpoints") if self._file else Path("results/harness.checkpoints").absolute()

    @property
    def page(self) -> Path:
        """Where a run leaves the page: beside `NAME.db`, `NAME.html`; of another database, `results/harness.html`."""
        return self._file.with_suffix(".html") if self._file else Path("results/harness.html")

    def add_cell(self, cell: Cell) -> None:
        """Adds a cell; one that is there keeps its identity and takes the new labels."""
        values = pack(cell)
        with self._write() as connection:
            there = connection.execute(sa.select(_cells.c.identity).where(_cells.c.key == cell.key)).scalar()
            if there is None:
                connection.execute(sa.insert(_cells).values(values))
            elif there == values["identity"]:
                connection.execute(sa.update(_cells).where(_cells.c.key == cell.key).values(labels=values["labels"]))
            else:
                raise ValueError(f"cell {cell.key} is stored with another identity")

    def cells(self) -> dict[str, Cell]:
        """All cells by key, in the order they were added: a plan's."""
        return {cell.key: cell for cell in self._select(Cell, _cells, _cells.c.row)}

    def add_trials(self, trials: Sequence[Trial]) -> None:
        """Adds all of them or none. Raises `DuplicateTrial`."""
        if not trials:
            return
        try:
            with self._write() as connection:
                connection.execute(sa.insert(_trials), [pack(trial) for trial in trials])
        except IntegrityError as error:
            stored = {(trial.cell, trial.number) for key in {trial.cell for trial in trials} for trial in self.trials(key)}
            if any((trial.cell, trial.number) in stored for trial in trials):
                raise DuplicateTrial(f"cell {trials[0].cell}: another run has stored its trial {trials[0].number}") from error
            raise

    def trials(self, cell_key: str | None = None) -> list[Trial]:
        """Trials of a cell, or all, by number."""
        return self._select(Trial, _trials, _trials.c.cell, _trials.c.number, cell=cell_key)

    def trial_counts(self) -> dict[str, dict[str, int]]:
        """How many trials each cell has, by state: {cell key: {"complete": 8, "pruned": 2}}."""
        counts: dict[str, dict[str, int]] = {}
        query = sa.select(_trials.c.cell, _trials.c.state, sa.func.count()).group_by(_trials.c.cell, _trials.c.state)
        with self._read() as connection:
            for cell, state, count in connection.execute(query) if connection is not None else ():
                counts.setdefault(cell, {})[state] = count
        return counts

    def trial_units(self) -> dict[str, float]:
        """Forward-image units that each cell's search took, by cell key."""
        query = sa.select(_trials.c.cell, sa.func.sum(_trials.c.units)).group_by(_trials.c.cell)
        with self._read() as connection:
            return {cell: float(units) for cell, units in connection.execute(query)} if connection is not None else {}

    def trial_values(self) -> list[dict[str, Any]]:
        """`cell`, `value` and `state` of all trials, by cell and number."""
        query = sa.select(_trials.c.cell, _trials.c.value, _trials.c.state).order_by(_trials.c.cell, _trials.c.number)
        with self._read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()] if connection is not None else []

    def add_result(self, result: Result) -> None:
        """Adds a final run. Raises `DuplicateResult`."""
        self.add_results([result])

    def add_results(self, results: Sequence[Result]) -> None:
        """Adds all of them or none. Raises `DuplicateResult`."""
        if not results:
            return
        try:
            with self._write() as connection:
                connection.execute(sa.insert(_results), [pack(result) for result in results])
        except IntegrityError as error:
            stored = self.results()
            ids, seeds = {other.id for other in stored}, {(other.cell, other.seed) for other in stored}
            for result in results:
                if result.id in ids or (result.cell, result.seed) in seeds:
                    raise DuplicateResult(f"result {result.id} (cell {result.cell}, seed {result.seed}) is stored already") from error
                ids.add(result.id)
                seeds.add((result.cell, result.seed))
            raise

    def results(self, cell_key: str | None = None) -> list[Result]:
        """Final runs of a cell, or all, in the order they were stored in."""
        return self._select(Result, _results, _results.c.row, cell=cell_key)

    def runs(self, columns: Sequence[str]) -> list[dict[str, Any]]:
        """These columns of all final runs, in the order they were stored in: cheap where they aren't JSON. `RUN_COLUMNS` are known."""
        if unknown := set(columns) - set(RUN_COLUMNS):
            raise ValueError(f"{', '.join(sorted(unknown))}: not among {', '.join(RUN_COLUMNS)}")
        query = sa.select(*(_results.c[name] for name in columns)).order_by(_results.c.row)
        with self._read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()] if connection is not None else []

    def result(self, id_or_prefix: str) -> tuple[Result, Cell]:
        """The final run with this id, or the only one whose id begins so. Raises `BadInput`."""
        found = self.named(self.results(), id_or_prefix)
        return found, self.cells()[found.cell]

    def named(self, results: Iterable[Result], id_or_prefix: str) -> Result:
        """The one of `results` with this id, or the only one whose id begins so. Raises `BadInput`."""
        prefix = id_or_prefix.strip().lower()
        found = [result for result in results if result.id.startswith(prefix)] if prefix else []
        if not found:
            raise BadInput(f"no result '{id_or_prefix}' in {self.name}: see the ids in `harness results list`.")
        if len(found) > 1:
            ids = ", ".join(result.id for result in found[:4]) + (", ..." if len(found) > 4 else "")
            raise BadInput(f"'{id_or_prefix}' begins {len(found)} ids: {ids}. Give more of it.")
        return found[0]

    def add_failure(self, failure: Failure) -> None:
        """Notes that a final run failed; in place of what was noted of it before."""
        with self._write() as connection:
            connection.execute(_failure_of(failure.cell, failure.seed))
            connection.execute(sa.insert(_failures).values(pack(failure)))

    def failures(self, cell_key: str | None = None) -> list[Failure]:
        """What failed in a cell, or in all, by seed."""
        return self._select(Failure, _failures, _failures.c.cell, _failures.c.seed, cell=cell_key)

    def clear_failure(self, cell: str, seed: int) -> None:
        """Forgets a failure, if there is one."""
        with self._write() as connection:
            connection.execute(_failure_of(cell, seed))

    def add(
        self, cells: Iterable[Cell], trials: Iterable[Trial] = (), results: Iterable[Result] = (), failures: Iterable[Failure] = ()
    ) -> None:
        """Adds rows of every kind, all or none. Cells that are there stay as they are; what is a result now is no failure any more.

        Raises `Duplicate`, and whatever the iterables raise.
        """
        try:
            with self._write() as connection:
                there = set(connection.execute(sa.select(_cells.c.key)).scalars())
                _insert(connection, _cells, (cell for cell in cells if cell.key not in there))
                for table, rows in ((_trials, trials), (_results, results), (_failures, failures)):
                    _insert(connection, table, rows)
                done = sa.exists().where(_results.c.cell == _failures.c.cell, _results.c.seed == _failures.c.seed)
                connection.execute(sa.delete(_failures).where(done))
        except IntegrityError as error:
            raise Duplicate(f"rows to be added to {self.name} clash with stored ones: {error.orig}") from error

    def remove(
        self, results: Collection[str] = (), failures: Collection[tuple[str, int]] = (), searches: Collection[str] = ()
    ) -> dict[str, int]:
        """Removes results by id and failures by (cell, seed); of the cells in `searches` that have no result left, trials and failures too.

        A cell goes when nothing of it is left. All in one transaction. Gives back how many rows of each table went.
        """
        ids, seeds, keys = [{"a": id} for id in results], [{"a": cell, "b": seed} for cell, seed in failures], [{"a": k} for k in searches]
        one, two, key = sa.bindparam("a"), sa.bindparam("b"), _cells.c.key
        without = {table: ~sa.exists().where(table.c.cell == one) for table in (_results, _trials, _failures)}
        with self._write() as connection:
            stored = {row.id: row.cell for row in connection.execute(sa.select(_results.c.id, _results.c.cell))} if ids else {}
            touched = [
                {"a": cell} for cell in {stored[id] for id in results if id in stored} | {cell for cell, _ in failures} | set(searches)
            ]
            steps = [
                ("results", sa.delete(_results).where(_results.c.id == one), ids),
                ("failures", sa.delete(_failures).where(_failures.c.cell == one, _failures.c.seed == two), seeds),
                ("trials", sa.delete(_trials).where(_trials.c.cell == one, without[_results]), keys),
                ("failures", sa.delete(_failures).where(_failures.c.cell == one, without[_results]), keys),
                ("cells", sa.delete(_cells).where(key == one, *without.values()), touched),
            ]
            gone = {"cells": 0, "trials": 0, "results": 0, "failures": 0}
            for name, statement, values in steps:
                gone[name] += connection.execute(statement, values).rowcount if values else 0
        return gone

    def state(self) -> str:
        """A short text that changes when rows come, go or are replaced: how many there are, and the newest."""
        parts = []
        with self._read() as connection:
            if connection is not None:
                for table in (_cells, _results):
                    parts += connection.execute(sa.select(sa.func.count(), sa.func.max(table.c.row)).select_from(table)).one()
                parts.append(connection.execute(sa.select(sa.func.count()).select_from(_trials)).scalar())
                parts += connection.execute(sa.select(sa.func.count(), sa.func.max(_failures.c.created))).one()
        return "-".join(str(part or 0) for part in parts)

    def close(self) -> None:
        """Ends the connections; the store opens again when it is used again."""
        self._engine.dispose()

    def _unlocked(self) -> sa.URL:
        """The URL; of a SQLite file in a folder that can't be written, one that needs no files beside it."""
        if (
            self._file is None
            or os.access(self._file.absolute().parent, os.W_OK)
            or self._file.with_name(f"{self._file.name}-wal").exists()
        ):
            return self._url
        return self._url.set(database=f"file:{quote(str(self._file.absolute()))}", query={"mode": "ro", "immutable": "1", "uri": "true"})

    def _select(self, kind: type[Row], table: sa.Table, *order: sa.Column, cell: str | None = None) -> list[Row]:
        query = sa.select(*(table.c[field.name] for field in fields(kind))).order_by(*order)
        if cell is not None:
            query = query.where(table.c.cell == cell)
        with self._read() as connection:
            return [unpack(kind, row) for row in connection.execute(query).mappings()] if connection is not None else []

    @contextmanager
    def _read(self) -> Iterator[sa.Connection | None]:
        """A connection with one view of the data; None where there is no store yet."""
        if self._file is not None and not self._file.exists():
            yield None
            return
        with self._one_line(), self._engine.connect() as connection, connection.begin():
            self._exists = self._exists or self._check(connection)
            yield connection if self._exists else None

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        """One transaction: committed when the block ends, rolled back where it raises."""
        with self._one_line():
            if self._file is not None and not self._file.exists():
                self._exists = False
                self._file.parent.mkdir(parents=True, exist_ok=True)
            if not self._exists:
                self._create()
            with self._engine.connect().execution_options(immediate=True) as connection, connection.begin():
                yield connection

    def _create(self) -> None:
        """Makes the tables, all or none, unless they are there."""
        with self._engine.connect() as connection, connection.begin():
            self._exists = self._check(connection)
        if self._exists:
            return
        if self._file is not None:
            with closing(self._engine.raw_connection()) as raw, suppress(sqlite3.OperationalError):  # another process is making it
                raw.cursor().execute("PRAGMA journal_mode=WAL")  # not possible within a transaction; the file remembers it
        with self._engine.connect().execution_options(immediate=True) as connection, connection.begin():
            if not self._check(connection):
                _schema.create_all(connection)
                connection.execute(sa.insert(_meta), [{"name": "format", "value": "vpt-harness"}, {"name": "schema", "value": str(SCHEMA)}])
        self._exists = True

    def _check(self, connection: sa.Connection) -> bool:
        """Whether the database has our tables; False where it is empty. Raises `BadInput` where it is anything else."""
        if self._foreign and self._sqlite and connection.exec_driver_sql("PRAGMA quick_check(1)").scalar() != "ok":
            raise BadInput(f"{self.name} is damaged: {self._mend}.")
        tables = sa.inspect(connection).get_table_names()
        if not tables and self._foreign:
            raise BadInput(f"{self.name} is empty: {self._mend}.")
        if not tables:
            return False
        columns = {column["name"] for column in sa.inspect(connection).get_columns("meta")} if "meta" in tables else set()
        meta = {row.name: row.value for row in connection.execute(sa.select(_meta))} if columns == {"name", "value"} else {}
        if meta.get("format") != "vpt-harness":
            some = plain(", ".join(sorted(tables)[:3]))[:80]
            raise BadInput(f"{self.name} is another program's database (tables {some}): {self._mend}.")
        if meta.get("schema") != str(SCHEMA):
            found = plain(str(meta.get("schema")))[:20]
            raise BadInput(f"{self.name} has schema {found}, this harness knows {SCHEMA}: upgrade vpt-harness, or {self._mend}.")
        return True

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """Turns what a database or file system says into one line."""
        try:
            yield
        except IntegrityError:
            raise
        except (DBAPIError, OSError) as error:
            said = " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())
            raise BadInput(f"store {self.name} can't be used: {said}. Mend it, or {self._mend}.") from error


def _set_up_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours: Python's own would leave CREATE TABLE outside the transaction
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    """Writers take their lock at once, so that they wait for each other rather than fail in the middle."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("immediate") else "BEGIN")


def _set_up_foreign(connection: sqlite3.Connection, _: Any) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA trusted_schema=OFF")


def _insert(connection: sa.Connection, table: sa.Table, rows: Iterable[Cell | Trial | Result | Failure]) -> None:
    """Adds rows, a few hundred at a time."""
    rows = iter(rows)
    while some := [pack(row) for row in islice(rows, 500)]:
        connection.execute(sa.insert(table), some)


def _failure_of(cell: str, seed: int) -> sa.Delete:
    return sa.delete(_failures).where(_failures.c.cell == cell, _failures.c.seed == seed)
