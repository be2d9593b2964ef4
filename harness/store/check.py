"""Whether a store is consistent: `harness store check`. Reads everything, changes nothing, trusts
nothing in it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from harness.errors import BadInput
from harness.store import leases, tables
from harness.store.columns import StoredRecord, columns, unpack
from harness.store.database import Store
from harness.store.records import RECORDS, Cell, Failure, Result
from harness.store.validate import fault, named
from harness.text import plain, some

LONGEST_LEASE = 7 * 24 * 3600.0
"""Seconds. No driver leases for longer, so a later end means that a clock is wrong."""

_UNIQUE = (
    *((record.TABLE.name, key) for record in RECORDS for key in record.TABLE.keys),
    ("leases", ("cell",)),
)


@dataclass
class Checked:
    """The outcome of a check."""

    schema: int
    counts: dict[str, int] = field(default_factory=dict)
    """Rows by table, and files."""
    faults: list[str] = field(default_factory=list)
    """What no run can have caused."""
    notes: list[str] = field(default_factory=list)
    """What a killed or active run leaves."""

    def fault(self, text: str) -> None:
        self.faults.append(plain(text)[:300])


def check(store: Store) -> Checked:
    """Reads all rows from one snapshot, then the checkpoints. Raises `BadInput` if there is no
    store."""
    outcome = store.engine.read(_database, None)
    if outcome is None:
        raise BadInput(f"there is no store {store.name}.")
    checked, results, leased = outcome
    _checkpoints(store, checked, results, leased)
    return checked


_Results = dict[str, tuple[str, int, str]]


def _database(connection: sa.Connection, schema: int) -> tuple[Checked, _Results, set[str]]:
    """Checks the rows; also returns the results' cells, seeds and logits, and the leased cells."""
    checked = Checked(schema)
    if connection.dialect.name == "sqlite":
        lines = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars().all()
        checked.faults += [f"the file: {plain(str(line))[:300]}" for line in lines if line != "ok"]
    for table, key in _UNIQUE:
        names = [tables.schema.tables[table].c[name] for name in key]
        repeated = sa.select(*names).group_by(*names).having(sa.func.count() > 1)
        for row in connection.execute(repeated):
            values = ", ".join(f"{name} {value}" for name, value in zip(key, row, strict=True))
            checked.fault(f"{table}: {values} exists more than once")
    cells, results, seeds, superseded = set[str](), _Results(), set[tuple[str, int]](), 0
    for record in RECORDS:
        for row in _rows(connection, record, schema, checked):
            if record is Cell:
                cells.add(row["key"])
            elif record is Result:
                results[row["id"]] = (row["cell"], row["seed"], row["logits_sha256"])
                seeds.add((row["cell"], row["seed"]))
            elif record is Failure:
                superseded += (row["cell"], row["seed"]) in seeds
            with _noted(checked, named(record, row)):
                if record is not Cell:
                    _of_a_cell(row["cell"], cells)
                if problem := fault(unpack(record, row)):
                    raise ValueError(problem)
    if superseded:
        checked.notes.append(f"{some(superseded, 'failure')} with a later result")
    return checked, results, _leases(connection, cells, checked)


def _leases(connection: sa.Connection, cells: set[str], checked: Checked) -> set[str]:
    held = leases.held(connection)
    checked.counts["leases"], expired = len(held), 0
    for lease in held:
        expired += lease.seconds <= 0
        with _noted(checked, f"the lease of cell {lease.cell} by {lease.owner}"):
            _of_a_cell(lease.cell, cells)
            if not lease.owner or not lease.seconds < LONGEST_LEASE:  # NaN isn't either
                raise ValueError(f"it has no owner, or no end ({lease.seconds} s)")
    if expired:
        checked.notes.append(
            f"{some(expired, 'lease')} of drivers that are gone; the next run will take over their"
            " cells"
        )
    return {lease.cell for lease in held if lease.seconds > 0}


def _checkpoints(store: Store, checked: Checked, results: _Results, leased: set[str]) -> None:
    """Checks the store's files: each must be complete, and belong to one of its results, or to a
    cell that is being worked on."""
    files = sorted(store.checkpoints.glob("*.safetensors")) if store.checkpoints.is_dir() else []
    checked.counts["checkpoints"], strangers = 0, 0
    for file in files:
        with _noted(checked, f"checkpoint {file.name}"):
            id, cell, seed, logits = _origin(file)
            if results.get(file.stem) == (cell, seed, logits) and id == file.stem:
                checked.counts["checkpoints"] += 1
            elif file.stem in results:
                raise ValueError("it is from a different run than the result of that name")
            elif store.file is None or cell in leased:
                strangers += 1
            else:
                raise ValueError("no result of that name is stored")
    if strangers:
        checked.notes.append(
            f"{some(strangers, 'checkpoint')} in {store.checkpoints} of another store, or of an"
            " active run"
        )
    if unfinished := (
        len(list(store.checkpoints.glob("*.safetensors.*.tmp")))
        if store.checkpoints.is_dir()
        else 0
    ):
        checked.notes.append(
            f"{some(unfinished, 'unfinished checkpoint')} (*.tmp) of workers that were killed, or"
            " are active"
        )


def _origin(file: Path) -> tuple[str, str, int, str]:
    """Id, cell, seed and logits of a checkpoint's result, by its own metadata. Raises
    `ValueError`."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "np") as opened:  # checks the header and the file's length
            origin = json.loads((opened.metadata() or {}).get("origin", ""))
    except (SafetensorError, OSError) as error:
        raise ValueError(f"it can't be read ({error})") from error
    if not isinstance(origin, dict):
        raise ValueError("its origin isn't a JSON object")
    return (
        origin.get("id", ""),
        origin.get("cell", ""),
        origin.get("seed", -1),
        origin.get("logits_sha256", ""),
    )


def _rows(
    connection: sa.Connection, record: type[StoredRecord], schema: int, checked: Checked
) -> Iterator[dict[str, Any]]:
    """A table's rows, counted, a thousand at a time in memory."""
    table = tables.of[record]
    names = [column.name for column in columns(record) if column.since <= schema]
    query = sa.select(*(table.c[name] for name in names))
    checked.counts[table.name] = 0
    for row in connection.execution_options(yield_per=1000).execute(query).mappings():
        checked.counts[table.name] += 1
        yield dict(row)


@contextmanager
def _noted(checked: Checked, what: str) -> Iterator[None]:
    """Records what is wrong with a row, and continues."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        checked.fault(f"{what}: {error}")


def _of_a_cell(cell: str, cells: set[str]) -> None:
    if cell not in cells:
        raise ValueError(f"there is no cell {cell}")
