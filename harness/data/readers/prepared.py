"""A task that `harness data prepare` converted: `<root>/<task>.prepared/`, decoded, lossless, read
through a memory map.

A split is two files. `test.pixels` is its images, concatenated, each uint8 of (height, width, 3);
`test.csv` has one line per image: key, label, height, width, and the sha256 of the published bytes
and of the pixels. `prepared.json`, written last, marks it complete. The fingerprint is that of the
published bytes: a score's key doesn't depend on whether its data were prepared.
"""

import csv
import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from harness.data.memmap import Mapped
from harness.data.readers.files import stamp
from harness.data.readers.reader import TaskReader
from harness.data.readers.record import Record
from harness.errors import BadInput
from harness.io import commands
from harness.tasks.cards import Reader, SplitName

MARK = "prepared.json"
COLUMNS = ("key", "label", "height", "width", "sha256", "pixels_sha256")


class PreparedRow(NamedTuple):
    """A line of a split's csv."""

    key: str
    label: int
    height: int
    width: int
    sha256: str
    pixels_sha256: str

    @property
    def bytes(self) -> int:
        return 3 * self.height * self.width


def folder_of(task: str, root: Path) -> Path:
    return root / f"{task}.prepared"


class Prepared(TaskReader):
    format = "prepared"

    def present(self) -> bool:
        return self.root is not None and (folder_of(self.card.name, self.root) / MARK).is_file()

    @property
    def pixels(self) -> Literal["tf", "pil", "vpt"] | None:
        """The `pixels` of the format that it was made from. Raises `BadInput`."""
        assert self.root is not None
        path = folder_of(self.card.name, self.root) / MARK
        try:
            return Reader(format="prepared", pixels=json.loads(path.read_bytes())["pixels"]).pixels
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise self.error(
                f"{path} is damaged. Delete {path.parent} and prepare it again."
            ) from error

    def records(self, split: SplitName) -> Sequence[Record]:
        rows, images = self.opened(split)
        assert self.root is not None
        mark = partial(stamp, folder_of(self.card.name, self.root) / f"{split}.pixels")
        return [
            Record(
                row.key,
                row.label,
                partial(_raw, images, place),
                partial(_image, images, place),
                mark,
                partial(_sha256, self.card.name, images, place, row),
            )
            for place, row in enumerate(rows)
        ]

    def _prepare(self) -> str:
        return commands.command(
            "data",
            "prepare",
            "--tasks",
            self.card.name,
            "--data-root",
            self.root or "data",
            *commands.cards([self.card]),
        )

    def opened(self, split: SplitName) -> tuple[list[PreparedRow], Mapped]:
        """A split's rows, and its images as stored on disk. Raises `BadInput`."""
        if self.root is None or not self.present():
            raise self.error(f"no prepared data in {self.root}. Run `{self._prepare()}`.")
        path = folder_of(self.card.name, self.root) / f"{split}.pixels"
        try:
            rows = rows_of(path.with_suffix(".csv"))
            flat = np.memmap(path, np.uint8, "r")
        except (OSError, ValueError, TypeError, csv.Error) as error:
            raise self.error(
                f"{path} or its .csv is damaged. Delete {path.parent} and prepare it again."
            ) from error
        needed = sum(row.bytes for row in rows)
        if flat.size != needed:
            raise self.error(
                f"{path} has {flat.size} bytes, but its .csv says {needed}. Delete"
                f" {path.parent} and prepare it again."
            )
        labels = np.array(
            [max(-1, min(row.label, self.card.labels)) for row in rows], dtype=np.int64
        )  # a label out of range is reported with its record
        shapes = np.array([(row.height, row.width) for row in rows], dtype=np.int64).reshape(-1, 2)
        return rows, Mapped(labels, shapes, flat)


def rows_of(path: Path) -> list[PreparedRow]:
    """The lines of a split's csv. Raises `OSError`, `ValueError`, `TypeError` or `csv.Error`."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        if tuple(next(lines, ())) != COLUMNS:
            raise ValueError(f"its first line is not {','.join(COLUMNS)}")
        rows = [
            PreparedRow(key, int(label), int(height), int(width), *digests)
            for key, label, height, width, *digests in lines
        ]
    if any(row.height < 1 or row.width < 1 for row in rows):
        raise ValueError("an image without pixels")
    return rows


def _pixels(images: Mapped, place: int) -> np.ndarray:
    return images.rows(np.array([place]))[0]


def _raw(images: Mapped, place: int) -> bytes:
    return _pixels(images, place).tobytes()


def _image(images: Mapped, place: int) -> Image.Image:
    return Image.fromarray(_pixels(images, place))


def _sha256(task: str, images: Mapped, place: int, row: PreparedRow) -> str:
    """Of the published bytes; trusted only if the pixels are unchanged."""
    if hashlib.sha256(_raw(images, place)).hexdigest() != row.pixels_sha256:
        raise BadInput(
            f"task {task}: the prepared pixels of {row.key} have changed. Delete {task}.prepared"
            " and prepare it again."
        )
    return row.sha256
