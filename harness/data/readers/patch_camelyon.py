"""PatchCamelyon: `camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5`, images `x` (n, 96, 96,
3) and labels `y` (n, 1, 1, 1).

The published files are gzipped; they are unpacked once, 8 GB in the cache.
"""

import gzip
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.data.readers import hdf5
from harness.data.readers.files import stamp
from harness.data.readers.reader import SlicedReader
from harness.data.readers.record import Record
from harness.data.readers.unpacked import unpacked
from harness.data.splits import parse
from harness.tasks.cards import SplitName

PARTS = {"train": "train", "validation": "valid", "test": "test"}


class PatchCamelyon(SlicedReader[str]):
    format = "patch-camelyon"
    arguments = ("counts",)

    def present(self) -> bool:
        return any(self.find(name, f"{name}.gz") is not None for name in _names("train", "x"))

    def keys(self, source: str) -> Sequence[str]:
        """`train_17`, `valid_3`, `test_5`: the part's name and the row."""
        return [f"{PARTS[source]}_{row}" for row in range(self.count(source))]

    def records(self, split: SplitName) -> Sequence[Record]:
        source, _, _ = parse(self.card.slices[split])
        count = self.count(source)
        path, labels_path = (self._file(source, what) for what in ("x", "y"))
        images, labels = (
            hdf5.array(self.card.name, file, what, stamp(file))
            for file, what in ((path, "x"), (labels_path, "y"))
        )
        if images.shape != (count, 96, 96, 3) or images.dtype != np.uint8:
            raise self.error(
                f"x of {path} is {images.dtype} {images.shape}, expected uint8"
                f" ({count}, 96, 96, 3). Download it again."
            )
        if labels.shape[0] != count or labels.size != count:
            raise self.error(
                f"y of {labels_path} is {labels.shape}, expected ({count}, 1, 1, 1). Download it"
                " again."
            )
        of_row, mark = np.asarray(labels).reshape(-1), partial(stamp, path)
        chosen = [(key, int(key.rpartition("_")[2])) for key in self.selected(split)]
        return [
            Record(
                key,
                int(of_row[row]),
                partial(_raw, images, row),
                partial(_image, images, row),
                mark,
            )
            for key, row in chosen
        ]

    def _file(self, source: str, what: str) -> Path:
        names = _names(source, what)
        packed = self.find(*(f"{name}.gz" for name in names))
        if packed is not None and self.find(*names) is None:
            return unpacked(self.card.name, packed, "", lambda path: gzip.open(path))
        return self.need(*names)


def _names(source: str, what: str) -> tuple[str, str]:
    name = f"camelyonpatch_level_2_split_{PARTS[source]}_{what}.h5"
    return name, f"pcam/{name}"


def _raw(images: Any, row: int) -> bytes:
    return np.asarray(images[row]).tobytes()


def _image(images: Any, row: int) -> Image.Image:
    return Image.fromarray(np.asarray(images[row]))
