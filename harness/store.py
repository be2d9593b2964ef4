"""Results in SQL: cells, the trials of their search, one row a final run, and what failed. Each call that writes is one transaction.

A SQLite file by default (write-ahead log, so that a report can read while a run writes), or any URL that SQLAlchemy understands.
"""

import hashlib
import json
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.pool import NullPool, StaticPool

from harness.errors import BadInput

SCHEMA = 1
"""Version of the tables below; a store of a later version is refused."""

_BUSY_SECONDS = 30


@dataclass(frozen=True)
class Cell:
    """One square of the leaderboard, seed aside: a method variant on a task with a backbone under a protocol."""

    key: str
    """sha256 of `identity`."""
    identity: dict[str, Any]
    """All that a score depends on: method, task, backbone, protocol."""
    labels: dict[str, Any]
    """For display: variant, suite, group, kind, metric, classes, protocol's name, note. Never part of the key."""


@dataclass(frozen=True)
class Trial:
    """One point of a cell's search, trained on `train` and scored on `val`."""

    cell: str
    number: int
    params: dict[str, Any]
    state: Literal["complete", "pruned", "failed"]
    value: float | None
    """The last score on val, in percent; None where the trial didn't complete."""
    curve: dict[int, float]
    """Score on val by epoch."""
    reason: str | None
    """Why it failed."""
    seconds: float
    units: float
    """Forward-image units."""
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """One final run: trained on all training images with the chosen point, scored once on test."""

    id: str
    cell: str
    seed: int
    params: dict[str, Any]
    score: float
    """In percent."""
    trainable: int
    """Trained values of the method, without the head."""
    head_params: int
    logits_sha256: str
    seconds: float
    memory: int
    """Peak, in bytes."""
    units: float
    """Forward-image units."""
    curve: dict[int, float]
    provenance: dict[str, Any]
    created: str
    """ISO time in UTC."""


@dataclass(frozen=True)
class Failure:
    """A final run that didn't come through: a gap, with its reason."""

    cell: str
    seed: int
    reason: str
    created: str


class DuplicateResult(RuntimeError):
    """A result of this (cell, seed), or with this id, is stored already."""


class DuplicateTrial(RuntimeError):
    """A trial of this (cell, number) is stored already: another run is filling the same cell."""


def result_id(cell_key: str, seed: int) -> str:
    """12 hex digits that name the final run of a cell with a seed."""
    return hashlib.sha256(f"{cell_key}/{seed}".encode()).hexdigest()[:12]


_schema = sa.MetaData()
_Key, _Json = sa.String(64), sa.Text

_meta = sa.Table("meta", _schema, sa.Column("name", sa.String(32), primary_key=True), sa.Column("value", sa.String(64), nullable=False))
_cells = sa.Table(
    "cells",
    _schema,
    sa.Column("row", sa.Integer, primary_key=True),  # the order of insertion
    sa.Column("key", _Key, nullable=False, unique=True),
    sa.Column("identity", _Json, nullable=False),
    sa.Column("labels", _Json, nullable=False),
)
_trials = sa.Table(
    "trials",
    _schema,
    sa.Column("cell", _Key, sa.ForeignKey("cells.key"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("params", _Json, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("curve", _Json, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("units", sa.Double, nullable=False),
    sa.Column("provenance", _Json, nullable=False),
)
_results = sa.Table(
    "results",
    _schema,
    sa.Column("row", sa.Integer, primary_key=True),  # the order of insertion: `created` has only seconds
    sa.Column("id", sa.String(12), nullable=False, unique=True),
    sa.Column("cell", _Key, sa.ForeignKey("cells.key"), nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("params", _Json, nullable=False),
    sa.Column("score", sa.Double, nullable=False),
    sa.Column("trainable", sa.BigInteger, nullable=False),
    sa.Column("head_params", sa.BigInteger, nullable=False),
    sa.Column("logits_sha256", sa.String(64), nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("memory", sa.BigInteger, nullable=False),
    sa.Column("units", sa.Double, nullable=False),
    sa.Column("curve", _Json, nullable=False),
    sa.Column("provenance", _Json, nullable=False),
    sa.Column("created", sa.String(40), nullable=False),
    sa.UniqueConstraint("cell", "seed"),
)
_failures = sa.Table(
    "failures",
    _schema,
    sa.Column("cell", _Key, sa.ForeignKey("cells.key"), primary_key=True),
    sa.Column("seed", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created", sa.String(40), nullable=False),
)

Row = TypeVar("Row", Cell, Trial, Result, Failure)


class Store:
    """What was measured. A store that doesn't exist reads as empty and is made by the first call that writes.

    Every method raises `BadInput` where the database can't be used: not a database, another program's, of a later version, full, locked.
    """

    def __init__(self, url: str | Path):
        """`url`: any SQLAlchemy URL, or a plain path, which means a SQLite file. Touches nothing."""
        text = str(url)
        try:
            self._url = sa.make_url(text) if "://" in text else sa.URL.create("sqlite", database=text)
            self._sqlite = self._url.get_backend_name() == "sqlite"
            self._file = Path(self._url.database) if self._sqlite and self._url.database not in (None, "", ":memory:") else None
            pool: dict[str, Any] = {}
            if self._sqlite:
                pool = {"poolclass": NullPool if self._file else StaticPool, "connect_args": {"timeout": _BUSY_SECONDS}}
            self._engine = sa.create_engine(self._url, **pool)
            if text == "":
                raise ArgumentError("an empty URL")  # which SQLite would take for a database that ends with the process
        except (ArgumentError, NoSuchModuleError) as error:
            raise BadInput(f"store '{text}' is neither a file nor an SQLAlchemy URL such as sqlite:///results/harness.db.") from error
        except ModuleNotFoundError as error:
            raise BadInput(f"store {self.name}: install its driver, {error.name}.") from error
        if self._sqlite:
            event.listen(self._engine, "connect", _set_up_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        self._exists = False

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for another database, or one in memory."""
        return self._file

    @property
    def name(self) -> str:
        """The store as a message names it: its file, or its URL without the password."""
        return str(self._file) if self._file else self._url.render_as_string(hide_password=True)

    def add_cell(self, cell: Cell) -> None:
        """Adds a cell; one that is there keeps its identity and takes the new labels."""
        values = _pack(cell)
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
                connection.execute(sa.insert(_trials), [_pack(trial) for trial in trials])
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

    def add_result(self, result: Result) -> None:
        """Adds a final run. Raises `DuplicateResult`."""
        self.add_results([result])

    def add_results(self, results: Sequence[Result]) -> None:
        """Adds all of them or none. Raises `DuplicateResult`."""
        if not results:
            return
        try:
            with self._write() as connection:
                connection.execute(sa.insert(_results), [_pack(result) for result in results])
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

    def result(self, id_or_prefix: str) -> tuple[Result, Cell]:
        """The final run with this id, or the only one whose id begins so. Raises `BadInput`."""
        prefix = id_or_prefix.strip().lower()
        found = [result for result in self.results() if result.id.startswith(prefix)] if prefix else []
        if not found:
            raise BadInput(f"no result '{id_or_prefix}' in {self.name}: see the ids in `harness report --format csv`.")
        if len(found) > 1:
            ids = ", ".join(result.id for result in found[:4]) + (", ..." if len(found) > 4 else "")
            raise BadInput(f"'{id_or_prefix}' begins {len(found)} ids: {ids}. Give more of it.")
        return found[0], self.cells()[found[0].cell]

    def add_failure(self, failure: Failure) -> None:
        """Notes that a final run failed; in place of what was noted of it before."""
        with self._write() as connection:
            connection.execute(_failure_of(failure.cell, failure.seed))
            connection.execute(sa.insert(_failures).values(_pack(failure)))

    def failures(self, cell_key: str | None = None) -> list[Failure]:
        """What failed in a cell, or in all, by seed."""
        return self._select(Failure, _failures, _failures.c.cell, _failures.c.seed, cell=cell_key)

    def clear_failure(self, cell: str, seed: int) -> None:
        """Forgets a failure, if there is one."""
        with self._write() as connection:
            connection.execute(_failure_of(cell, seed))

    def close(self) -> None:
        """Ends the connections; the store opens again when it is used again."""
        self._engine.dispose()

    def _select(self, kind: type[Row], table: sa.Table, *order: sa.Column, cell: str | None = None) -> list[Row]:
        query = sa.select(*(table.c[field.name] for field in fields(kind))).order_by(*order)
        if cell is not None:
            query = query.where(table.c.cell == cell)
        with self._read() as connection:
            return [_unpack(kind, row) for row in connection.execute(query).mappings()] if connection is not None else []

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
        tables = sa.inspect(connection).get_table_names()
        if not tables:
            return False
        columns = {column["name"] for column in sa.inspect(connection).get_columns("meta")} if "meta" in tables else set()
        meta = {row.name: row.value for row in connection.execute(sa.select(_meta))} if columns == {"name", "value"} else {}
        if meta.get("format") != "vpt-harness":
            raise BadInput(f"{self.name} is another program's database (tables {', '.join(sorted(tables)[:3])}): give another --store.")
        if meta["schema"] != str(SCHEMA):
            raise BadInput(
                f"{self.name} has schema {meta['schema']}, this harness knows {SCHEMA}: upgrade vpt-harness, or give another --store."
            )
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
            raise BadInput(f"store {self.name} can't be used: {said}. Give another --store, or mend this one.") from error


def _set_up_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours: Python's own would leave CREATE TABLE outside the transaction
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    """Writers take their lock at once, so that they wait for each other rather than fail in the middle."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("immediate") else "BEGIN")


def _failure_of(cell: str, seed: int) -> sa.Delete:
    return sa.delete(_failures).where(_failures.c.cell == cell, _failures.c.seed == seed)


def _pack(row: Cell | Trial | Result | Failure) -> dict[str, Any]:
    """A row's columns. Refuses NaN and infinity: `ValueError`."""
    values = dict(vars(row))
    for name, value in values.items():
        if isinstance(value, Mapping):
            values[name] = json.dumps(value, sort_keys=True, allow_nan=False)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} is {value}: a store holds finite numbers only")
        elif isinstance(value, str):
            values[name] = value.encode(errors="replace").decode().replace("\0", " ")  # what some databases can't hold
    return values


def _unpack(kind: type[Row], row: Mapping[Any, Any]) -> Row:
    values = dict(row)
    for name in values.keys() & {"identity", "labels", "params", "curve", "provenance"}:
        values[name] = json.loads(values[name])
    if "curve" in values:
        values["curve"] = {int(epoch): score for epoch, score in values["curve"].items()}
    return kind(**values)
