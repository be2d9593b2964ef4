"""Whether a store is sound: `harness store check`. Reads everything, changes nothing, trusts
nothing that is in it."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from harness.errors import BadInput
from harness.store import leases, tables
from harness.store.database import Store
from harness.store.records import cell_key, result_id
from harness.text import plain, some

LONGEST_LEASE = 7 * 24 * 3600.0
"""Seconds. No driver leases for longer, so an end further off than this is an error of a clock."""

_UNIQUE = (
    (tables.cells, "key"),
    (tables.results, "id"),
    (tables.results, "cell", "seed"),
    (tables.trials, "cell", "number"),
)
_UNIQUE += ((tables.failures, "cell", "seed"), (tables.leases, "cell"))


@dataclass
class Checked:
    """What a check found."""

    schema: int
    counts: dict[str, int] = field(default_factory=dict)
    """Rows by table, and files."""
    faults: list[str] = field(default_factory=list)
    """What no run can have left so."""
    notes: list[str] = field(default_factory=list)
    """What a run that was killed, or that goes on, leaves."""

    def fault(self, text: str) -> None:
        self.faults.append(plain(text)[:300])


def check(store: Store) -> Checked:
    """Reads all rows in one view of the data, then the checkpoints. Raises `BadInput` where there
    is no store."""
    found = store.engine.read(_database, None)
    if found is None:
        raise BadInput(f"there is no store {store.name}.")
    checked, results, leased = found
    _checkpoints(store, checked, results, leased)
    return checked


_Results = dict[str, tuple[str, int, str]]


def _database(connection: sa.Connection, schema: int) -> tuple[Checked, _Results, set[str]]:
    """The rows; gives back the results' cells, seeds and logits too, and the cells that are
    leased."""
    found, there = Checked(schema), set(sa.inspect(connection).get_table_names())
    if connection.dialect.name == "sqlite":
        said = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars().all()
        found.faults += [f"the file: {plain(str(line))[:300]}" for line in said if line != "ok"]
    for table, *columns in _UNIQUE:
        if table.name in there:
            names = [table.c[name] for name in columns]
            for row in connection.execute(
                sa.select(*names).group_by(*names).having(sa.func.count() > 1)
            ):
                found.fault(f"{table.name}: {_named(columns, row)} is there more than once")
    known, results = set[str](), _Results()
    for row in _rows(connection, tables.cells, schema, found):
        known.add(row["key"])
        with _fault(found, f"cell {row['key']}"):
            if cell_key(_object(row["identity"])) != row["key"]:
                raise ValueError("its key isn't the digest of its identity")
            _object(row["labels"])
    for row in _rows(connection, tables.trials, schema, found):
        with _fault(found, f"trial {row['number']} of cell {row['cell']}"):
            _trial(row, known)
    for row in _rows(connection, tables.results, schema, found):
        results[row["id"]] = (row["cell"], row["seed"], row["logits_sha256"])
        with _fault(found, f"result {row['id']}"):
            _result(row, known)
    made_good, seeds = 0, {(cell, seed) for cell, seed, _ in results.values()}
    for row in _rows(connection, tables.failures, schema, found):
        made_good += (row["cell"], row["seed"]) in seeds
        with _fault(found, f"the failure of cell {row['cell']} with seed {row['seed']}"):
            _of_a_cell(row, known)
    if made_good:
        found.notes.append(f"{some(made_good, 'failure')} that a result has made good since")
    leased = _leases(connection, schema, known, found)
    return found, results, leased


def _leases(connection: sa.Connection, schema: int, known: set[str], found: Checked) -> set[str]:
    held = leases.held(connection) if schema >= 2 else []
    found.counts["leases"], expired = len(held), 0
    for lease in held:
        expired += lease.seconds <= 0
        with _fault(found, f"the lease of cell {lease.cell} by {lease.owner}"):
            _of_a_cell({"cell": lease.cell}, known)
            if not lease.owner or not lease.seconds < LONGEST_LEASE:  # NaN isn't either
                raise ValueError(f"it is nobody's, or has no end ({lease.seconds} s)")
    if expired:
        found.notes.append(
            f"{some(expired, 'lease')} of drivers that are gone; the next run takes the cells"
        )
    return {lease.cell for lease in held if lease.seconds > 0}


def _checkpoints(store: Store, found: Checked, results: _Results, leased: set[str]) -> None:
    """The files beside the store: each is whole, and of one of its results, or of a cell that is
    being worked on."""
    files = sorted(store.checkpoints.glob("*.safetensors")) if store.checkpoints.is_dir() else []
    found.counts["checkpoints"], strangers = 0, 0
    for file in files:
        with _fault(found, f"checkpoint {file.name}"):
            id, cell, seed, logits = _origin(file)
            if results.get(file.stem) == (cell, seed, logits) and id == file.stem:
                found.counts["checkpoints"] += 1
            elif file.stem in results:
                raise ValueError("it was made by another run than the result of that name")
            elif store.file is None or cell in leased:
                strangers += 1
            else:
                raise ValueError("no result of that name is stored")
    if strangers:
        found.notes.append(
            f"{some(strangers, 'checkpoint')} in {store.checkpoints} of another store, or of a run"
            " that goes on"
        )
    if unfinished := (
        len(list(store.checkpoints.glob("*.safetensors.*.tmp")))
        if store.checkpoints.is_dir()
        else 0
    ):
        found.notes.append(
            f"{some(unfinished, 'unfinished checkpoint')} (*.tmp) of workers that were killed, or"
            " are at work"
        )


def _origin(file: Path) -> tuple[str, str, int, str]:
    """Id, cell, seed and logits of the result that a checkpoint is of, by its own word. Raises
    `ValueError`."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "np") as opened:  # looks at the header, and at the file's length
            origin = _object((opened.metadata() or {}).get("origin", ""))
    except (SafetensorError, OSError) as error:
        raise ValueError(f"it can't be read ({error})") from error
    return (
        origin.get("id", ""),
        origin.get("cell", ""),
        origin.get("seed", -1),
        origin.get("logits_sha256", ""),
    )


def _trial(row: dict[str, Any], known: set[str]) -> None:
    _of_a_cell(row, known)
    for name in ("params", "provenance"):
        _object(row[name])
    _curve(row["curve"])
    _finite(row, "seconds", "units")
    if row["state"] not in ("complete", "pruned", "failed"):
        raise ValueError(f"its state is '{row['state']}'")
    if row["state"] == "complete":
        _percent(row["value"], "value")
    elif row["value"] is not None:
        raise ValueError(f"it is {row['state']}, and has a value")


def _result(row: dict[str, Any], known: set[str]) -> None:
    _of_a_cell(row, known)
    for name in ("params", "provenance"):
        _object(row[name])
    _curve(row["curve"])
    _object(row.get("extras") or "{}")
    _finite(row, "seconds", "units", "trainable", "head_params", "memory")
    _percent(row["score"], "score")
    if row["id"] != result_id(row["cell"], row["seed"]):
        raise ValueError(
            f"its id doesn't follow from its cell {row['cell']} and seed {row['seed']}"
        )


def _rows(
    connection: sa.Connection, table: sa.Table, schema: int, found: Checked
) -> Iterator[dict[str, Any]]:
    """A table's rows, counted, a thousand at a time in memory."""
    columns = [column for column in table.c if column.info.get("since", 1) <= schema]
    found.counts[table.name] = 0
    for row in connection.execution_options(yield_per=1000).execute(sa.select(*columns)).mappings():
        found.counts[table.name] += 1
        yield dict(row)


@contextmanager
def _fault(found: Checked, what: str) -> Iterator[None]:
    """Notes what a row is refused for, and goes on."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        found.fault(f"{what}: {error}")


def _of_a_cell(row: dict[str, Any], known: set[str]) -> None:
    if row["cell"] not in known:
        raise ValueError(f"there is no cell {row['cell']}")


def _object(text: str) -> dict[str, Any]:
    def refused(word: str) -> float:
        raise ValueError(f"{word[:20]} in its JSON: only finite numbers are")

    def finite(digits: str) -> float:
        return value if math.isfinite(value := float(digits)) else refused(digits)

    value = json.loads(text, parse_constant=refused, parse_float=finite)
    if not isinstance(value, dict):
        raise ValueError("its JSON is no object")
    return value


def _curve(text: str) -> None:
    for epoch, score in _object(text).items():
        int(epoch)
        _percent(score, f"score at epoch {epoch}")


def _finite(row: dict[str, Any], *names: str) -> None:
    for name in names:
        if not (isinstance(row[name], int | float) and math.isfinite(row[name]) and row[name] >= 0):
            raise ValueError(f"{name} is {row[name]}")


def _percent(value: Any, name: str) -> None:
    if not (isinstance(value, int | float) and 0 <= value <= 100):
        raise ValueError(f"its {name} is {value}")


def _named(columns: list[str], row: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(columns, row, strict=True))
