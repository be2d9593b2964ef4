"""SVHN's cropped digits: `train_32x32.mat` and `test_32x32.mat` (version 5), `X` (32, 32, 3, n) and
`y` (n, 1) with 10 for zero."""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from harness.data.readers import matlab
from harness.data.readers.files import stamp
from harness.data.readers.reader import RowReader
from harness.data.readers.record import Record
from harness.data.splits import parse
from harness.errors import BadInput
from harness.tasks.cards import SplitName


class SVHN(RowReader):
    format = "svhn"
    arguments = ("counts",)

    def present(self) -> bool:
        return self.find("train_32x32.mat") is not None

    def records(self, split: SplitName) -> Sequence[Record]:
        source, _, _ = parse(self.card.slices[split])
        path = self.need(f"{source}_32x32.mat")
        images, labels = _arrays(self.card.name, path, stamp(path))
        self.check_rows(path, len(labels), source)
        mark = partial(stamp, path)
        return [
            Record(
                str(row),
                int(labels[row]),
                partial(_raw, images, row),
                partial(_image, images, row),
                mark,
            )
            for row in self.selected(split)
        ]


@lru_cache(maxsize=2)
def _arrays(task: str, path: Path, changed: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (32, 32, 3, n) as stored, and labels (n,) from 0."""
    fields = matlab.read(task, path, ("X", "y"), changed)
    images, labels = fields.numbers("X"), fields.numbers("y").reshape(-1)
    if images.dtype != np.uint8 or images.shape != (32, 32, 3, len(labels)):
        raise BadInput(
            f"task {task}: X of {path} is {images.dtype} {images.shape}, expected uint8 (32, 32, 3,"
            f" {len(labels)})."
        )
    return images, labels.astype(np.int64) % 10


def _raw(images: np.ndarray, row: int) -> bytes:
    return images[..., row].tobytes()


def _image(images: np.ndarray, row: int) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(images[..., row]))
