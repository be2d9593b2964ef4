"""CIFAR-100 as it was published: the python version (`cifar-100-python/{train,test}`) or the binary
one (`cifar-100-binary/*.bin`)."""

import io
import operator
import pickle
import pickletools
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.data.readers.files import stamp
from harness.data.readers.reader import RowReader
from harness.data.readers.record import Record
from harness.data.splits import parse
from harness.errors import BadInput
from harness.tasks.cards import SplitName

BYTES = 3 * 32 * 32
NAMES = {
    source: (
        f"cifar-100-python/{source}",
        f"cifar-100-binary/{source}.bin",
        f"cifar100/cifar-100-python/{source}",
    )
    for source in ("train", "test")
}


class CIFAR100(RowReader):
    format = "cifar100"
    arguments = ("counts",)

    def present(self) -> bool:
        return self.find(*NAMES["train"]) is not None

    def records(self, split: SplitName) -> Sequence[Record]:
        source, _, _ = parse(self.card.slices[split])
        path = self.need(*NAMES[source])
        pixels, labels = _arrays(self.card.name, path, stamp(path))
        self.check_rows(path, len(labels), source)
        mark = partial(stamp, path)
        return [
            Record(
                str(row),
                int(labels[row]),
                partial(_raw, pixels[row]),
                partial(_image, pixels[row]),
                mark,
            )
            for row in self.selected(split)
        ]


@lru_cache(maxsize=2)
def _arrays(task: str, path: Path, changed: str) -> tuple[np.ndarray, np.ndarray]:
    """(row, 3072) uint8, channel by channel, and (row,) fine labels."""
    content = path.read_bytes()
    if path.suffix == ".bin":  # rows of a coarse label, a fine label and the pixels
        if len(content) % (2 + BYTES):
            raise BadInput(
                f"task {task}: {path} has {len(content)} bytes, not a multiple of {2 + BYTES}: it"
                " is truncated. Download it again."
            )
        rows = np.frombuffer(content, np.uint8).reshape(-1, 2 + BYTES)
        return rows[:, 2:], rows[:, 1]
    try:
        fields = unpickled(content)
        pixels, labels = (
            fields["data"].array(),
            np.array([operator.index(label) for label in fields["fine_labels"]], np.int64),
        )
    except Exception as error:  # a damaged pickle raises nearly anything
        raise BadInput(
            f"task {task}: {path} is damaged, or not CIFAR-100's python version. Download it again."
        ) from error
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), BYTES):
        raise BadInput(
            f"task {task}: data of {path} is {pixels.dtype} {pixels.shape}, expected uint8"
            f" ({len(labels)}, {BYTES})."
        )
    return pixels, labels


def unpickled(content: bytes) -> Any:
    """Plain values, and a `PickledArray` for each NumPy array. Nothing else is created: a pickle
    could otherwise run any program.

    Raises nearly anything for a pickle of something else.
    """
    for opcode, argument, _ in pickletools.genops(content):
        # a table of this size would be allocated
        if "PUT" in opcode.name and int(argument or 0) > len(content):
            raise pickle.UnpicklingError(f"{opcode.name} {argument}")
    return _Unpickler(io.BytesIO(content), encoding="latin1").load()


class PickledArray:
    """An array as a pickle describes it: NumPy's own functions trust whatever a pickle says."""

    def __init__(self, *_: Any):
        self.state: tuple = ()

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        """An array of uint8, as CIFAR's are. Raises `ValueError` for others."""
        _, shape, kind, by_column, content = self.state
        if not isinstance(kind, PickledDtype) or kind.name != "u1":
            raise ValueError("not an array of bytes")
        return np.frombuffer(
            content.encode("latin1") if isinstance(content, str) else content, np.uint8
        ).reshape(shape, order="F" if by_column else "C")


class PickledDtype:
    """A dtype."""

    def __init__(self, name: str, *_: Any):
        self.name = name

    def __setstate__(self, state: tuple) -> None:
        """Byte order and the like, which don't matter for bytes."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): PickledArray,
            ("numpy._core.multiarray", "_reconstruct"): PickledArray,
            ("numpy", "ndarray"): PickledArray,
            ("numpy", "dtype"): PickledDtype,
            ("_codecs", "encode"): _encode,
        }.get((module, name))
        if allowed is None:
            raise pickle.UnpicklingError(f"{module}.{name} isn't an array")
        return allowed


def _encode(text: str, _: str = "") -> bytes:
    """How Python 3 unpickles a Python 2 pickle's bytes."""
    return text.encode("latin1")


def _raw(row: np.ndarray) -> bytes:
    return row.tobytes()


def _image(row: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(row.reshape(3, 32, 32).transpose(1, 2, 0)))
