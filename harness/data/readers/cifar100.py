"""CIFAR-100 as it was published: the python version (`cifar-100-python/{train,test}`) or the binary one (`cifar-100-binary/*.bin`)."""

import io
import pickle
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.cards import SplitName, TaskCard
from harness.data.readers.files import find, need, stamp
from harness.data.readers.record import Record
from harness.data.splits import parse, select
from harness.errors import BadInput

ARGUMENTS = ("counts",)
BYTES = 3 * 32 * 32
NAMES = {
    source: (f"cifar-100-python/{source}", f"cifar-100-binary/{source}.bin", f"cifar100/cifar-100-python/{source}")
    for source in ("train", "test")
}


def present(card: TaskCard, root: Path | None) -> bool:
    return find(card, root, *NAMES["train"]) is not None


def keys(card: TaskCard, root: Path | None, source: str) -> Sequence[int]:
    """Row numbers."""
    return range(card.reader.argument("counts", card.name, dict)[source])


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    source, _, _ = parse(card.slices[split])
    path = need(card, root, *NAMES[source])
    pixels, labels = _arrays(card.name, path, stamp(path))
    if len(labels) != len(keys(card, root, source)):
        raise BadInput(f"task {card.name}: {path} has {len(labels)} rows, expected {len(keys(card, root, source))}. Get it again.")
    mark = partial(stamp, path)
    return [
        Record(str(row), int(labels[row]), partial(_raw, pixels[row]), partial(_image, pixels[row]), mark)
        for row in select(card, split, partial(keys, card, root))
    ]


def check(card: TaskCard, root: Path | None) -> None:
    """Nothing beyond what each split shows."""


@lru_cache(maxsize=2)
def _arrays(task: str, path: Path, changed: str) -> tuple[np.ndarray, np.ndarray]:
    """(row, 3072) uint8, channel by channel, and (row,) fine labels."""
    content = path.read_bytes()
    if path.suffix == ".bin":  # rows of a coarse label, a fine label and the pixels
        if len(content) % (2 + BYTES):
            raise BadInput(f"task {task}: {path} has {len(content)} bytes, not a multiple of {2 + BYTES}: it is cut short. Get it again.")
        rows = np.frombuffer(content, np.uint8).reshape(-1, 2 + BYTES)
        return rows[:, 2:], rows[:, 1]
    try:
        fields = _Arrays(io.BytesIO(content), encoding="latin1").load()
        pixels, labels = np.asarray(fields["data"]), np.asarray(fields["fine_labels"])
    except Exception as error:  # a damaged pickle raises nearly anything
        raise BadInput(f"task {task}: {path} is damaged, or not CIFAR-100's python version. Get it again.") from error
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), BYTES):
        raise BadInput(f"task {task}: data of {path} is {pixels.dtype} {pixels.shape}, expected uint8 ({len(labels)}, {BYTES}).")
    return pixels, labels


class _Arrays(pickle.Unpickler):
    """Makes arrays and plain values, and nothing else: a pickle could otherwise run any program."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return super().find_class(module, name)
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no array")


def _raw(row: np.ndarray) -> bytes:
    return row.tobytes()


def _image(row: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(row.reshape(3, 32, 32).transpose(1, 2, 0)))
