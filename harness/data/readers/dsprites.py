"""dSprites: `imgs` (737280, 64, 64) of 0 and 1, as .npz or .hdf5; labels follow from the row
number, as its factors vary in order.

Row i has x position (i // 32) % 32, orientation (i // 1024) % 40. VTAB's classes are pairs of
positions (floor(x / 2)) and 16 bins of the 40 angles (floor(k / 2.5)).
"""

import zipfile
from collections.abc import Sequence
from functools import lru_cache, partial
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from PIL import Image

from harness.data.readers import hdf5
from harness.data.readers.files import stamp
from harness.data.readers.reader import RowReader
from harness.data.readers.record import Record
from harness.data.readers.unpacked import unpacked
from harness.errors import BadInput
from harness.tasks.cards import SplitName

if TYPE_CHECKING:
    import h5py

BASE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64"
NAMES = (f"{BASE}.npz", f"{BASE}.hdf5", f"dsprites/{BASE}.npz", f"dsprites/{BASE}.hdf5")


class DSprites(RowReader):
    format = "dsprites"
    arguments = ("counts", "factor")

    def present(self) -> bool:
        return self.find(*NAMES) is not None

    def labels(self, split: SplitName) -> list[int]:
        return labels(self.argument("factor", str), np.array(self.selected(split))).tolist()

    def records(self, split: SplitName) -> Sequence[Record]:
        path = self.need(*NAMES)
        images = _images(self.card.name, path, stamp(path))
        count = self.count("train")
        if images.shape != (count, 64, 64) or images.dtype != np.uint8:
            raise self.error(
                f"imgs of {path} is {images.dtype} {images.shape}, expected uint8"
                f" ({count}, 64, 64). Download it again."
            )
        mark = partial(stamp, path)
        return [
            Record(str(row), label, partial(_raw, images, row), partial(_image, images, row), mark)
            for row, label in zip(self.selected(split), self.labels(split), strict=True)
        ]

    def check(self) -> None:
        """The factor is one of VTAB's."""
        if self.argument("factor", str) not in ("location", "orientation"):
            raise BadInput(
                f"card {self.card.path}: reader.factor: expected location or orientation."
            )


def labels(factor: str, rows: np.ndarray) -> np.ndarray:
    """VTAB's classes of rows: `location` or `orientation`, 16 each."""
    if factor == "location":
        return (rows // 32) % 32 // 2
    return np.floor((rows // 1024) % 40 / 2.5).astype(np.int64)


@lru_cache(maxsize=1)
def _images(task: str, path: Path, changed: str) -> "np.ndarray | h5py.Dataset":
    """Mapped, or read row by row from the .hdf5. The .npz is compressed as one piece: it is
    unpacked once, 3 GB in the cache."""
    if path.suffix == ".hdf5":
        return hdf5.array(task, path, "imgs", changed)
    try:
        array = unpacked(task, path, ".npy", _packed)
        return np.load(array, mmap_mode="r", allow_pickle=False)
    except BadInput:
        raise
    except Exception as error:
        # NumPy and zipfile raise many kinds for an invalid file
        raise BadInput(
            f"task {task}: {path} is damaged, or has no imgs. Download it again."
        ) from error


def _packed(path: Path) -> BufferedIOBase:
    with zipfile.ZipFile(path) as archive:
        # a ZipExtFile, which stays open until it is closed itself
        return cast("BufferedIOBase", archive.open("imgs.npy"))


def _raw(images: "np.ndarray | h5py.Dataset", row: int) -> bytes:
    return np.asarray(images[row]).tobytes()


def _image(images: "np.ndarray | h5py.Dataset", row: int) -> Image.Image:
    return Image.fromarray(np.asarray(images[row]) * np.uint8(255)).convert("RGB")
