"""SVHN's cropped digits: `train_32x32.mat` and `test_32x32.mat` (version 5), `X` (32, 32, 3, n) and
`y` (n, 1) with 10 for zero."""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from harness.data.readers import matlab
from harness.data.readers.files import find, need, stamp
from harness.data.readers.record import Record
from harness.data.splits import parse, select
from harness.errors import BadInput
from harness.tasks.cards import SplitName, TaskCard

ARGUMENTS = ("counts",)


def present(card: TaskCard, root: Path | None) -> bool:
    return find(card, root, "train_32x32.mat") is not None


def keys(card: TaskCard, root: Path | None, source: str) -> Sequence[int]:
    """Row numbers."""
    return range(card.reader.argument("counts", card.name, dict)[source])


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    source, _, _ = parse(card.slices[split])
    path = need(card, root, f"{source}_32x32.mat")
    images, labels = _arrays(card.name, path, stamp(path))
    if len(labels) != len(keys(card, root, source)):
        raise BadInput(
            f"task {card.name}: {path} has {len(labels)} rows, expected"
            f" {len(keys(card, root, source))}. Get it again."
        )
    mark = partial(stamp, path)
    return [
        Record(
            str(row),
            int(labels[row]),
            partial(_raw, images, row),
            partial(_image, images, row),
            mark,
        )
        for row in select(card, split, partial(keys, card, root))
    ]


def check(card: TaskCard, root: Path | None) -> None:
    """Nothing beyond what each split shows."""


@lru_cache(maxsize=2)
def _arrays(task: str, path: Path, changed: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (32, 32, 3, n) as stored, and labels (n,) from 0."""
    fields = matlab.read(task, path, ("X", "y"), changed)
    images, labels = fields["X"], fields["y"].reshape(-1)
    if images.dtype != np.uint8 or images.shape != (32, 32, 3, len(labels)):
        raise BadInput(
            f"task {task}: X of {path} is {images.dtype} {images.shape}, expected uint8 (32, 32, 3,"
            f" {len(labels)})."
        )
    if labels.dtype.kind not in "iuf":
        raise BadInput(
            f"task {task}: y of {path} is {labels.dtype}, expected numbers. Get it again."
        )
    return images, labels.astype(np.int64) % 10


def _raw(images: np.ndarray, row: int) -> bytes:
    return images[..., row].tobytes()


def _image(images: np.ndarray, row: int) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(images[..., row]))
