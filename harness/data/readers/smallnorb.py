"""smallNORB's binary matrices, gzipped or not: `...-{training,testing}-{dat,cat,info}.mat`. Only
the first camera's images are VTAB's.

A matrix is little-endian: a magic number for its type, the number of dimensions, their sizes (at
least three are stored), the values.
"""

import gzip
import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from harness.data.readers.files import stamp
from harness.data.readers.reader import RowReader
from harness.data.readers.record import Record
from harness.data.splits import parse
from harness.errors import BadInput
from harness.io.limits import Room, TooLarge
from harness.tasks.cards import SplitName

TYPES = {0x1E3D4C55: np.dtype("u1"), 0x1E3D4C54: np.dtype("<i4")}
BASES = {
    "train": "smallnorb-5x46789x9x18x6x2x96x96-training",
    "test": "smallnorb-5x01235x9x18x6x2x96x96-testing",
}


class SmallNORB(RowReader):
    format = "smallnorb"
    arguments = ("counts", "factor")

    def present(self) -> bool:
        return self.find(*_names("train", "dat")) is not None

    def records(self, split: SplitName) -> Sequence[Record]:
        source, _, _ = parse(self.card.slices[split])
        count = self.count(source)
        path, info_path = (self.need(*_names(source, kind)) for kind in ("dat", "info"))
        images, info = (_matrix(self.card.name, file, stamp(file)) for file in (path, info_path))
        if images.shape != (count, 2, 96, 96) or images.dtype != np.uint8:
            raise self.error(
                f"{path} is {images.dtype} {images.shape}, expected uint8 ({count},"
                " 2, 96, 96). Download it again."
            )
        if info.shape != (count, 4):
            raise self.error(
                f"{info_path} is {info.shape}, expected ({count}, 4). Download it again."
            )
        labels = info[:, 1] if self.argument("factor", str) == "elevation" else info[:, 2] // 2
        mark = partial(stamp, path)
        return [
            Record(
                str(row),
                int(labels[row]),
                partial(_raw, images[row, 0]),
                partial(_image, images[row, 0]),
                mark,
            )
            for row in self.selected(split)
        ]

    def check(self) -> None:
        """The factor is one of VTAB's."""
        if self.argument("factor", str) not in ("azimuth", "elevation"):
            raise BadInput(f"card {self.card.path}: reader.factor: expected azimuth or elevation.")


def _names(source: str, kind: str) -> tuple[str, ...]:
    names = [f"{BASES[source]}-{kind}.mat{end}" for end in ("", ".gz")]
    return (*names, *(f"smallnorb/{name}" for name in names))


@lru_cache(maxsize=4)
def _matrix(task: str, path: Path, changed: str) -> np.ndarray:
    try:
        content = _content(path)
        magic, dimensions = struct.unpack_from("<ii", content)
        if magic not in TYPES:
            raise BadInput(
                f"task {task}: {path} begins with {magic:#x}, which isn't a matrix of bytes or"
                " integers. Download it again."
            )
        sizes = struct.unpack_from(f"<{max(3, dimensions)}i", content, 8)[:dimensions]
        return np.frombuffer(
            content, TYPES[magic], int(np.prod(sizes)), 8 + 4 * max(3, dimensions)
        ).reshape(sizes)
    except (
        OSError,
        EOFError,
        zlib.error,
        struct.error,
        ValueError,
        MemoryError,
        TooLarge,
    ) as error:
        raise BadInput(
            f"task {task}: {path} is damaged or truncated. Download it again."
        ) from error


def _content(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    room, parts = Room(path), []
    with gzip.open(path) as packed:
        while part := packed.read(1 << 24):
            room.take(len(part))
            parts.append(part)
    return b"".join(parts)


def _raw(image: np.ndarray) -> bytes:
    return image.tobytes()


def _image(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image).convert("RGB")
