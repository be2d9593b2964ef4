"""PatchCamelyon: `camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5`, images `x` (n, 96, 96,
3) and labels `y` (n, 1, 1, 1).

Gzipped, as they are published, they are unpacked once, 8 GB in the cache.
"""

import gzip
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from PIL import Image

from harness.data.readers import hdf5
from harness.data.readers.files import find, need, stamp
from harness.data.readers.record import Record
from harness.data.readers.unpacked import unpacked
from harness.data.splits import parse, select
from harness.errors import BadInput
from harness.tasks.cards import SplitName, TaskCard

ARGUMENTS = ("counts",)
PARTS = {"train": "train", "validation": "valid", "test": "test"}


def present(card: TaskCard, root: Path | None) -> bool:
    return any(find(card, root, name, f"{name}.gz") is not None for name in _names("train", "x"))


def keys(card: TaskCard, root: Path | None, source: str) -> Sequence[str]:
    """`train_17`, `valid_3`, `test_5`: the part's name and the row."""
    return [
        f"{PARTS[source]}_{row}"
        for row in range(card.reader.argument("counts", card.name, dict)[source])
    ]


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    source, _, _ = parse(card.slices[split])
    count = card.reader.argument("counts", card.name, dict)[source]
    path, labels_path = (_file(card, root, source, what) for what in ("x", "y"))
    images, labels = (
        hdf5.array(card.name, file, what, stamp(file))
        for file, what in ((path, "x"), (labels_path, "y"))
    )
    if images.shape != (count, 96, 96, 3) or images.dtype != np.uint8:
        raise BadInput(
            f"task {card.name}: x of {path} is {images.dtype} {images.shape}, expected uint8"
            f" ({count}, 96, 96, 3). Get it again."
        )
    if labels.shape[0] != count or labels.size != count:
        raise BadInput(
            f"task {card.name}: y of {labels_path} is {labels.shape}, expected ({count}, 1, 1, 1)."
            " Get it again."
        )
    of_row, mark = np.asarray(labels).reshape(-1), partial(stamp, path)
    chosen = [
        (key, int(key.rpartition("_")[2])) for key in select(card, split, partial(keys, card, root))
    ]
    return [
        Record(
            key, int(of_row[row]), partial(_raw, images, row), partial(_image, images, row), mark
        )
        for key, row in chosen
    ]


def check(card: TaskCard, root: Path | None) -> None:
    """Nothing beyond what each split shows."""


def _names(source: str, what: str) -> tuple[str, str]:
    name = f"camelyonpatch_level_2_split_{PARTS[source]}_{what}.h5"
    return name, f"pcam/{name}"


def _file(card: TaskCard, root: Path | None, source: str, what: str) -> Path:
    names = _names(source, what)
    packed = find(card, root, *(f"{name}.gz" for name in names))
    if packed is not None and find(card, root, *names) is None:
        return unpacked(card.name, packed, "", lambda path: cast(IO[bytes], gzip.open(path)))
    return need(card, root, *names)


def _raw(images: Any, row: int) -> bytes:
    return np.asarray(images[row]).tobytes()


def _image(images: Any, row: int) -> Image.Image:
    return Image.fromarray(np.asarray(images[row]))
