"""Rows exchanged between stores, and their file: one parquet with everything that is needed to
import them again.

A table with a row for each cell, trial, result and failure: `kind` says which, columns that a kind
doesn't have are null, nested values are JSON text. The file's metadata hold `format` and `schema`.
`pandas.read_parquet` reads it too.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.errors import BadInput
from harness.io.atomic import placing
from harness.io.limits import Room, TooLarge
from harness.store import LONGEST, SCHEMA, Store
from harness.store.columns import FIRST, StoredRecord, columns, pack, unpack
from harness.store.records import RECORDS, Cell, Failure, Result, Trial

FORMAT = "vpt-harness results"
"""The file's type in its metadata. `schema` is that of the rows: files of earlier ones can be read
too."""

OLDEST = 2
"""The schema of the oldest readable files: they have the columns of the store's schema 3."""

MOST = 5_000_000
"""Rows of the largest file that can be read."""

_KINDS = {record.__name__.lower(): record for record in RECORDS}
_ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64()}


def _columns(schema: int) -> dict[str, pa.DataType]:
    """The columns of a file of this schema: `kind`, and those of all records by name. In rows of
    kind `cell`, `cell` is the cell's key too."""
    named = {
        "cell" if (record, column.name) == (Cell, "key") else column.name: column
        for record in RECORDS
        for column in columns(record)
    }
    return {
        "kind": pa.string(),
        **{
            name: _ARROW[column.type.python_type]
            for name, column in named.items()
            if column.since <= max(schema, FIRST)
        },
    }


_schema = pa.schema(
    list(_columns(SCHEMA).items()), metadata={"format": FORMAT, "schema": str(SCHEMA)}
)


@dataclass(frozen=True)
class StoreRows:
    """Rows of every kind, each in the order they were stored."""

    cells: list[Cell]
    trials: list[Trial]
    results: list[Result]
    failures: list[Failure]


def of_store(store: Store, cells: Collection[str] | None = None) -> StoreRows:
    """Everything in a store, or in its cells with these keys."""
    # cells are read last, so that they include those of all other rows even during a run
    trials, results, failures, known = (
        store.trials(),
        store.results(),
        store.failures(),
        store.cells(),
    )
    if cells is None:
        return StoreRows(list(known.values()), trials, results, failures)
    keys = set(cells)
    return StoreRows(
        [cell for key, cell in known.items() if key in keys],
        [row for row in trials if row.cell in keys],
        [row for row in results if row.cell in keys],
        [row for row in failures if row.cell in keys],
    )


def write(rows: StoreRows, file: Path) -> None:
    """Writes the file atomically. Raises `BadInput` if it can't, or if something else has that
    name."""
    if file.suffix != ".parquet":
        raise BadInput(f"{file}: name it {file.stem}.parquet.")
    if file.exists() and not is_exported(file):
        raise BadInput(f"{file} exists, and isn't an exported store: name another file.")
    packed = (
        _packed(kind, row)
        for kind, record in _KINDS.items()
        for row in getattr(rows, record.TABLE.name)
    )
    try:
        with placing(file) as part, pq.ParquetWriter(part, _schema, compression="zstd") as writer:
            while some := list(islice(packed, 5000)):
                writer.write_table(pa.Table.from_pylist(some, schema=_schema))
    except OSError as error:
        raise BadInput(f"can't write {file} ({error.strerror or error}).") from error


def is_exported(file: Path) -> bool:
    """Whether a file was written by `write`, in any schema. Raises `BadInput` for a file that isn't
    parquet at all."""
    return _metadata(_open(file)).get("format") == FORMAT


def read(file: Path) -> StoreRows:
    """The rows of a file, not yet validated. Raises `BadInput` if `write` didn't write it, or it is
    damaged."""
    opened = _open(file)
    metadata = _metadata(opened)
    if metadata.get("format") != FORMAT:
        raise BadInput(
            f"{file} is another program's parquet: only those written by `harness results export"
            " FILE.parquet` can be imported."
        )
    schema = metadata.get("schema")
    if schema not in {str(number) for number in range(OLDEST, SCHEMA + 1)}:
        raise BadInput(
            f"{file} has schema {schema}, but this harness knows {OLDEST} to {SCHEMA}: upgrade"
            " vpt-harness, or export it again."
        )
    known = _columns(int(schema))
    if {
        field.name: field.type for field in opened.schema_arrow
    } != known or opened.metadata.num_rows > MOST:
        raise BadInput(
            f"{file} doesn't have the columns of an exported store, or has more than {MOST:,}"
            " rows: export it again."
        )
    texts = [name for name, kind in known.items() if kind == pa.string()]
    rows = StoreRows([], [], [], [])
    try:
        # as dictionaries: a text repeated a million times is read once
        for row in _dicts(_open(file, texts), texts, file):
            if (record := _KINDS.get(row["kind"])) is None:
                raise BadInput(f"{file} holds a row of kind '{row['kind']}': export it again.")
            getattr(rows, record.TABLE.name).append(unpack(record, {**row, "key": row["cell"]}))
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
        TooLarge,
    ) as error:
        raise BadInput(
            f"{file} is damaged ({' '.join(str(error).split())[:160]}): export it again."
        ) from error
    return rows


def _open(file: Path, dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file, read_dictionary=dictionaries)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadInput(
            f"{file} can't be read as parquet ({' '.join(str(error).split())[:160]}): copy it"
            " again, or export it again."
        ) from error


def _metadata(opened: pq.ParquetFile) -> dict[str, str]:
    return {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in (opened.metadata.metadata or {}).items()
    }


def _dicts(opened: pq.ParquetFile, texts: Sequence[str], file: Path) -> Iterator[dict[str, Any]]:
    """The rows; `texts`: the columns that hold text, whose lengths are checked first."""
    room = Room(file)
    for batch in opened.iter_batches(1000):
        for name in texts:
            column = batch.column(name)
            coded = isinstance(column, pa.DictionaryArray)
            lengths = pc.call_function("binary_length", [column.dictionary if coded else column])
            longest = pc.call_function("max", [lengths]).as_py() or 0
            if longest > LONGEST:
                raise BadInput(
                    f"{file} holds a text of {longest:,} bytes in {name}, but {LONGEST:,} is the"
                    " maximum: export it again."
                )
            if coded:
                lengths = pc.call_function("take", [lengths, column.indices])
            room.take(pc.call_function("sum", [lengths]).as_py() or 0)
        yield from batch.to_pylist()


def _packed(kind: str, row: StoredRecord) -> Mapping[str, Any]:
    values = pack(row)
    return {"kind": kind, "cell": values.pop("key", None), **values}
