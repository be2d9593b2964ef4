"""A task's data as one hash: part of every score's key."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from harness.data.decode import masks
from harness.data.duplicates import Duplicates, Image, duplicates, restored
from harness.data.readers import open_reader
from harness.data.readers.reader import TaskReader
from harness.data.readers.record import Record
from harness.errors import BadInput
from harness.io.atomic import ReadOnly, making, replacing
from harness.io.resources import cache_dir
from harness.tasks.cards import TaskCard

Rows = Sequence[tuple[str, Record]]
"""A task's records with their splits."""


class DataSummary(NamedTuple):
    """What is computed from one pass over all bytes of a task's data."""

    fingerprint: str
    duplicates: Duplicates


def fingerprint(card: TaskCard, root: Path | None) -> str:
    """sha256 over the key, label and stored bytes of every record of every split, test included;
    masks with their images.

    All bytes are read once, and masks decoded once, so that a bad one is reported before anything
    runs; after that, only the files' sizes and times are checked. Raises `BadInput`.
    """
    return data_summary(card, root).fingerprint


def data_summary(
    card: TaskCard, root: Path | None, rows: Rows | None = None, again: bool = False
) -> DataSummary:
    """The fingerprint and the duplicate images, cached together.

    `rows`: the records, if the caller has them. `again`: read all bytes, whatever is cached.
    """
    listed = rows_of(open_reader(card, root)) if rows is None else rows
    try:
        memo = cache_dir() / "fingerprints" / signature(card, root, listed)
        if not again and (known := _recall(memo)):
            return known
        with suppress(ReadOnly), making(memo):
            if not again and (known := _recall(memo)):
                return known
            result = _read(card, listed)
            with replacing(memo) as file:
                file.write(json.dumps([result.fingerprint, result.duplicates._asdict()]).encode())
            return result
        return _read(card, listed)  # the cache can't be written: read every time
    except OSError as error:
        raise BadInput(
            f"task {card.name}: can't read {error.filename} ({error.strerror})."
        ) from error


def rows_of(reader: TaskReader) -> Rows:
    """All records, with their splits. Raises `BadInput`."""
    return [(split, record) for split in sorted(reader.card.sizes) for record in reader.read(split)]


def remembered(card: TaskCard, root: Path | None, rows: Rows) -> str | None:
    """The fingerprint of these data when they were last read; None if they never were."""
    known = _recall(cache_dir() / "fingerprints" / signature(card, root, rows))
    return known and known.fingerprint


def _read(card: TaskCard, rows: Rows) -> DataSummary:
    for _ in masks(card.name, [record for _, record in rows if record.mask]):
        """Each is decoded, and dropped."""
    images: list[Image] = []

    def lines() -> Iterator[list]:
        for split, record in rows:
            full, image_only = record.digests()
            images.append(
                Image(
                    split,
                    record.key,
                    record.label,
                    image_only,
                    str(record.label) if record.mask is None else full,
                )
            )
            yield [split, record.key, record.label, full]

    return DataSummary(_digest(lines()), duplicates(images))


def signature(card: TaskCard, root: Path | None, rows: Rows) -> str:
    """A hash of every record's key, label and file time; while it stays the same, the data needn't
    be read again. Raises `BadInput`."""

    def lines() -> Iterator[list]:
        yield [card.digest(), str(card.path), str(root and root.absolute())]
        yield from ([split, record.key, record.label, record.stamp()] for split, record in rows)

    return _digest(lines())


def _digest(lines: Iterator[list]) -> str:
    total = hashlib.sha256()
    for line in lines:
        total.update(json.dumps(line).encode() + b"\n")
    return total.hexdigest()


def _recall(memo: Path) -> DataSummary | None:
    try:
        digest, fields = json.loads(memo.read_text(encoding="ascii"))
        if re.fullmatch(r"[0-9a-f]{64}", digest) is None:
            return None
        return DataSummary(digest, restored(fields))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
