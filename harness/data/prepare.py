"""`harness data prepare`: converts a task's data, whatever their format, into the folder that is
read fastest (`readers/prepared.py`).

Killed at any point and restarted, it resumes and leaves the same bytes. Of two at once, the second
waits, and then has nothing to do.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from harness.data.decode import decoded
from harness.data.fingerprint import fingerprint, signature
from harness.data.readers import open_reader, originals
from harness.data.readers.prepared import COLUMNS, MARK, PreparedRow, folder_of, rows_of
from harness.data.readers.record import Record
from harness.errors import BadInput
from harness.io.atomic import begin, making, replacing, unwritable
from harness.tasks.cards import SPLITS, SplitName, TaskCard

Progress = Callable[[int, int], None]
"""Called with the number of images done, and the total."""


def prepare(card: TaskCard, root: Path, to: Path, progress: Progress) -> bool:
    """Makes `<to>/<task>.prepared` from the data under `root`; False if it exists. Raises
    `BadInput`."""
    folder = folder_of(card.name, to)
    if (folder / MARK).is_file():
        return False
    if card.masked:
        raise BadInput(
            f"task {card.name}: {card.kind} is read from its own files, and kept decoded in the"
            " cache: nothing to prepare."
        )
    source = originals(card, root)
    reader = open_reader(source, root)
    reader.check_all()
    with making(folder):
        if (folder / MARK).is_file():
            return False
        splits: dict[SplitName, Sequence[Record]] = {
            split: reader.read(split) for split in SPLITS if split in card.sizes
        }
        total, before = sum(len(rows) for rows in splits.values()), 0
        try:
            begin(
                folder,
                signature(
                    source,
                    root,
                    [(split, record) for split, rows in splits.items() for record in rows],
                ),
            )
            for split, rows in splits.items():
                _write(
                    card.name,
                    folder / f"{split}.pixels",
                    rows,
                    lambda done, before=before: progress(before + done, total),
                )
                before += len(rows)
        except OSError as error:
            raise unwritable(folder, error) from error
        description = {
            "task": card.name,
            "format": source.reader.format,
            "pixels": source.pixels,
            "fingerprint": fingerprint(source, root),
        }
        with replacing(folder / MARK) as file:
            file.write(json.dumps(description, indent=1).encode() + b"\n")
        (folder / "origin").unlink(missing_ok=True)
    return True


def _write(task: str, path: Path, rows: Sequence[Record], progress: Callable[[int], None]) -> None:
    """A split's two files; resumes after the last image that is complete in both."""
    lines = path.with_suffix(".csv")
    kept = _whole(path, lines, rows)
    with (
        path.open("r+b" if path.is_file() else "w+b") as pixels,
        lines.open("r+b" if lines.is_file() else "w+b") as table,
    ):
        pixels.truncate(sum(row.bytes for row in kept))
        table.truncate(len(_text([COLUMNS, *kept])) if kept else 0)
        pixels.seek(0, os.SEEK_END)
        table.seek(0, os.SEEK_END)
        if not kept:
            table.write(_text([COLUMNS]))
        progress(len(kept))
        left = rows[len(kept) :]
        for done, (record, image) in enumerate(
            zip(left, decoded(task, left, _rgb), strict=True), len(kept) + 1
        ):
            content = image.tobytes()
            height, width, _ = image.shape
            row = PreparedRow(
                record.key,
                record.label,
                height,
                width,
                record.sha256(),
                hashlib.sha256(content).hexdigest(),
            )
            _append(pixels, content)  # first, so that no line exists without its image
            _append(table, _text([row]))
            progress(done)
        for file in (pixels, table):
            os.fsync(file.fileno())


def _whole(path: Path, lines: Path, rows: Sequence[Record]) -> list[PreparedRow]:
    """The images of these records that a killed run completed: their pixels match their lines."""
    kept: list[PreparedRow] = []
    try:
        text = lines.read_bytes()
        lines.write_bytes(text[: text.rfind(b"\n") + 1])  # drop a truncated line
        with path.open("rb") as pixels:
            for row, record in zip(rows_of(lines), rows, strict=False):
                if (row.key, row.label) != (record.key, record.label) or hashlib.sha256(
                    pixels.read(row.bytes)
                ).hexdigest() != row.pixels_sha256:
                    break
                kept.append(row)
    except (OSError, ValueError, TypeError, csv.Error):
        pass
    return kept


def _append(file: BinaryIO, content: bytes) -> None:
    file.write(content)
    file.flush()


def _text(rows: Sequence[Sequence]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _rgb(image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))
