"""SUN397: `SUN397/a/abbey/sun_x.jpg`, and TensorFlow Datasets' lists `sun397_tfds_{tr,va,te}.txt`
with lines `/a/abbey/sun_x.jpg`.

Its images are capped at 120,000 pixels and encoded as JPEG again, at OpenCV's default quality:
TensorFlow Datasets 4.0.0's description says 72, its code gives none for this set. Two images that
can't be decoded reliably are left out.
"""

import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL.Image import Image

from harness.data.images import rgb
from harness.data.readers import opencv
from harness.data.readers.files import find, image_records, need
from harness.data.readers.lists import as_published, names_of, whole
from harness.data.readers.record import Record
from harness.data.splits import select
from harness.errors import BadInput
from harness.tasks.cards import SplitName, TaskCard

ARGUMENTS = ("counts",)
LISTS = {
    "train": "sun397_tfds_tr.txt",
    "validation": "sun397_tfds_va.txt",
    "test": "sun397_tfds_te.txt",
}
LEFT_OUT = {
    "/c/church/outdoor/sun_bhenjvsvrtumjuri.jpg",
    "/t/track/outdoor/sun_aophkoiosslinihb.jpg",
}
MOST = 120_000
"""Pixels."""


def present(card: TaskCard, root: Path | None) -> bool:
    return find(card, root, *_images()) is not None


def keys(card: TaskCard, root: Path | None, source: str) -> Sequence[str]:
    """The lines of the split's list."""
    path = need(card, root, LISTS[source])
    lines = names_of(card, path)
    for line in lines:
        if not (line.startswith("/") and line.count("/") > 1) or ".." in line:
            raise BadInput(
                f"task {card.name}: {path} has the line {line[:60]!r}, expected"
                " '/a/abbey/sun_x.jpg'. Get it again."
            )
    whole(card, path, source, lines)
    as_published(card, path)
    return [line for line in lines if line not in LEFT_OUT]


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    labels = {name: label for label, name in enumerate(_classes(card, root))}
    folder = need(card, root, *_images())
    chosen = select(card, split, partial(keys, card, root))
    files = [
        (opencv.marked(key), labels[key.rpartition("/")[0]], folder / key[1:]) for key in chosen
    ]
    return image_records(card, files, processed)


def check(card: TaskCard, root: Path | None) -> None:
    """The lists have as many classes as the card."""
    found = len(_classes(card, root))
    if found != card.classes:
        raise BadInput(
            f"task {card.name}: the three lists have {found} classes, expected {card.classes}. Get"
            " them again."
        )


def processed(path: Path) -> Image:
    """As TensorFlow Datasets made it. Raises `OSError` and others for a file that is no image."""
    image = opencv.decode(path.read_bytes())
    pixels = image.shape[0] * image.shape[1]
    if pixels > MOST:
        image = opencv.resize(image, float(np.sqrt(MOST / pixels)))
    return rgb(io.BytesIO(opencv.encode(image)))


def _images() -> tuple[str, str]:
    return "SUN397", "sun397/SUN397"


def _classes(card: TaskCard, root: Path | None) -> list[str]:
    return sorted({key.rpartition("/")[0] for source in LISTS for key in keys(card, root, source)})
