"""Rows on their way from store to store, and the file they travel in: one parquet with everything
that is needed to import them again.

A table with a row for each cell, trial, result and failure: `kind` says which, columns that a kind
doesn't have are null, what is nested is JSON text. The file's metadata hold `format` and `schema`.
`pandas.read_parquet` reads it too.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from harness.errors import BadInput
from harness.io.limits import Room, TooLarge
from harness.store import LONGEST, Store
from harness.store.records import Cell, Failure, Result, Row, Trial, pack, unpack

FORMAT, SCHEMA = "vpt-harness results", 2
"""What the file's metadata say it is. The schema's number changes with the columns; files of
earlier ones are read too."""

MOST = 5_000_000
"""Rows of the largest file that is read."""

_KINDS: dict[str, type] = {"cell": Cell, "trial": Trial, "result": Result, "failure": Failure}
_TEXT, _WHOLE, _NUMBER = pa.string(), pa.int64(), pa.float64()
_COLUMNS: dict[str, pa.DataType] = {
    **{"kind": _TEXT, "cell": _TEXT, "identity": _TEXT, "labels": _TEXT},
    **{
        "id": _TEXT,
        "seed": _WHOLE,
        "number": _WHOLE,
        "state": _TEXT,
        "score": _NUMBER,
        "value": _NUMBER,
        "reason": _TEXT,
        "params": _TEXT,
    },
    **{
        "trainable": _WHOLE,
        "head_params": _WHOLE,
        "logits_sha256": _TEXT,
        "seconds": _NUMBER,
        "memory": _WHOLE,
        "units": _NUMBER,
    },
    **{"curve": _TEXT, "provenance": _TEXT, "created": _TEXT, "extras": _TEXT},
}
"""`cell` is the cell's key, in the rows of kind `cell` too; the others are named as in
`harness.store.records`."""

_SINCE = {"extras": 2}
"""The schema that brought a column; the others were there from the first."""

_TEXTS = [name for name, kind in _COLUMNS.items() if kind == _TEXT]
_schema = pa.schema(list(_COLUMNS.items()), metadata={"format": FORMAT, "schema": str(SCHEMA)})


@dataclass(frozen=True)
class Rows:
    """Rows of every kind, each in the order they were stored."""

    cells: list[Cell]
    trials: list[Trial]
    results: list[Result]
    failures: list[Failure]


def of_store(store: Store, cells: Collection[str] | None = None) -> Rows:
    """All that a store holds, or what it holds of the cells with these keys."""
    # cells are read last, so that those of all other rows are among them while a run goes on
    trials, results, failures, known = (
        store.trials(),
        store.results(),
        store.failures(),
        store.cells(),
    )
    if cells is None:
        return Rows(list(known.values()), trials, results, failures)
    keys = set(cells)
    return Rows(
        [cell for key, cell in known.items() if key in keys],
        [row for row in trials if row.cell in keys],
        [row for row in results if row.cell in keys],
        [row for row in failures if row.cell in keys],
    )


def write(rows: Rows, file: Path) -> None:
    """Writes the file, whole or not at all. Raises `BadInput` where it can't, or where something
    else has that name."""
    if file.suffix != ".parquet":
        raise BadInput(f"{file}: name it {file.stem}.parquet, so that it is known for what it is.")
    if file.exists() and not is_exported(file):
        raise BadInput(f"{file} is there already, and is something else: name another file.")
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    packed = chain.from_iterable(
        (_packed(kind, row) for row in some)
        for kind, some in (
            ("cell", rows.cells),
            ("trial", rows.trials),
            ("result", rows.results),
            ("failure", rows.failures),
        )
    )
    try:
        with pq.ParquetWriter(temporary, _schema, compression="zstd") as writer:
            while some := list(islice(packed, 5000)):
                writer.write_table(pa.Table.from_pylist(some, schema=_schema))
        temporary.replace(file)
    except OSError as error:
        raise BadInput(f"can't write {file} ({error.strerror or error}).") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def is_exported(file: Path) -> bool:
    """Whether a file is one that `write` made, of any schema. Raises `BadInput` for a file that is
    no parquet at all."""
    return _metadata(_open(file)).get("format") == FORMAT


def read(file: Path) -> Rows:
    """The rows of a file, not yet checked. Raises `BadInput` where it isn't one that `write` made,
    or is damaged."""
    opened = _open(file)
    metadata = _metadata(opened)
    if metadata.get("format") != FORMAT:
        raise BadInput(
            f"{file} is another program's parquet: `harness results export FILE.parquet` makes"
            " those that can be imported."
        )
    if metadata.get("schema") not in {str(number) for number in range(1, SCHEMA + 1)}:
        raise BadInput(
            f"{file} has schema {metadata.get('schema')}, this harness knows {SCHEMA}: upgrade"
            " vpt-harness, or export it again."
        )
    columns = {
        name: kind
        for name, kind in _COLUMNS.items()
        if _SINCE.get(name, 1) <= int(metadata["schema"])
    }
    if {
        field.name: field.type for field in opened.schema_arrow
    } != columns or opened.metadata.num_rows > MOST:
        raise BadInput(
            f"{file} has other columns than an exported store, or more than {MOST:,} rows: export"
            " it again."
        )
    found = Rows([], [], [], [])
    lists: dict[str, list] = {
        "cell": found.cells,
        "trial": found.trials,
        "result": found.results,
        "failure": found.failures,
    }
    try:
        for row in _dicts(
            _open(file, [name for name in _TEXTS if name in columns]), file
        ):  # as dictionaries: a text that is repeated a million times is read once
            if row["kind"] not in lists:
                raise BadInput(f"{file} holds a row of kind '{row['kind']}': export it again.")
            lists[row["kind"]].append(_unpacked(_KINDS[row["kind"]], row))
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
    return found


def _open(file: Path, dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file, read_dictionary=dictionaries)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadInput(
            f"{file} can't be read as parquet ({' '.join(str(error).split())[:160]}): get it again,"
            " or export it again."
        ) from error


def _metadata(opened: pq.ParquetFile) -> dict[str, str]:
    return {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in (opened.metadata.metadata or {}).items()
    }


def _dicts(opened: pq.ParquetFile, file: Path) -> Iterator[dict[str, Any]]:
    room = Room(file)
    for batch in opened.iter_batches(1000):
        for name in (name for name in _TEXTS if name in batch.schema.names):
            texts = batch.column(name)
            lengths = pc.call_function(
                "binary_length",
                [texts.dictionary if isinstance(texts, pa.DictionaryArray) else texts],
            )
            longest = pc.call_function("max", [lengths]).as_py() or 0
            if longest > LONGEST:
                raise BadInput(
                    f"{file} holds a text of {longest:,} bytes in {name}, and {LONGEST:,} is the"
                    " most: export it again."
                )
            if isinstance(texts, pa.DictionaryArray):
                lengths = pc.call_function("take", [lengths, texts.indices])
            room.take(pc.call_function("sum", [lengths]).as_py() or 0)
        yield from batch.to_pylist()


def _packed(kind: str, row: Cell | Trial | Result | Failure) -> Mapping[str, Any]:
    values = pack(row)
    return (
        {"kind": kind, **values, "cell": values.pop("key")}
        if kind == "cell"
        else {"kind": kind, **values}
    )


def _unpacked(kind: type[Row], row: Mapping[str, Any]) -> Row:
    values = {"extras": None, **row, "key": row["cell"]}
    return unpack(kind, {field.name: values[field.name] for field in fields(kind)})
