"""SUN397: `SUN397/a/abbey/sun_x.jpg`, and TensorFlow Datasets' lists `sun397_tfds_{tr,va,te}.txt`
with lines `/a/abbey/sun_x.jpg`.

Its images are capped at 120,000 pixels and encoded as JPEG again, at OpenCV's default quality:
TensorFlow Datasets 4.0.0's description says 72, its code specifies none for this set. Two images
that can't be decoded reliably are left out.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL.Image import Image

from harness.data.images import rgb
from harness.data.readers import opencv
from harness.data.readers.lists import checked_names
from harness.data.readers.reader import SlicedReader
from harness.data.readers.record import Record
from harness.tasks.cards import SplitName

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


class SUN397(SlicedReader[str]):
    format = "sun397"
    arguments = ("counts",)

    def present(self) -> bool:
        return self.find(*_images()) is not None

    def keys(self, source: str) -> Sequence[str]:
        """The lines of the split's list."""
        return self.once(source, lambda: self._listed(source))

    def _listed(self, source: str) -> list[str]:
        path = self.need(LISTS[source])
        lines = self.lists.names(path)
        for line in lines:
            if not (line.startswith("/") and line.count("/") > 1) or ".." in line:
                raise self.error(
                    f"{path} has the line {line[:60]!r}, expected"
                    " '/a/abbey/sun_x.jpg'. Download it again."
                )
        checked_names(self.card, path, source, lines)
        self.lists.as_published(path)
        return [line for line in lines if line not in LEFT_OUT]

    def records(self, split: SplitName) -> Sequence[Record]:
        labels = {name: label for label, name in enumerate(self._classes())}
        folder = self.need(*_images())
        chosen = self.selected(split)
        files = [
            (opencv.marked(key), labels[key.rpartition("/")[0]], folder / key[1:]) for key in chosen
        ]
        return self.images(files, processed)

    def check(self) -> None:
        """The lists have as many classes as the card."""
        count = len(self._classes())
        if count != self.card.classes:
            raise self.error(
                f"the three lists have {count} classes, expected {self.card.classes}. Download"
                " them again."
            )

    def _classes(self) -> list[str]:
        return sorted({key.rpartition("/")[0] for source in LISTS for key in self.keys(source)})


def processed(path: Path) -> Image:
    """As TensorFlow Datasets made it. Raises `OSError` and others for a file that isn't an
    image."""
    image = opencv.decode(path.read_bytes())
    pixels = image.shape[0] * image.shape[1]
    if pixels > MOST:
        image = opencv.resize(image, float(np.sqrt(MOST / pixels)))
    return rgb(io.BytesIO(opencv.encode(image)))


def _images() -> tuple[str, str]:
    return "SUN397", "sun397/SUN397"
