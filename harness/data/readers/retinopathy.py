"""Kaggle's Diabetic Retinopathy Detection: `{train,test}/10_left.jpeg`, `trainLabels.csv`, and
`retinopathy_solution.csv`.

VTAB's validation are the test images of Usage Public, its test those of Private. Images are
processed as by the competition's winner (B. Graham, as TensorFlow Datasets' btgraham-300 does): the
eye's radius scaled to 300 pixels, four times the difference from the local average added to grey,
cropped to nine tenths of the radius, encoded as JPEG of quality 72.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL.Image import Image

from harness.data.images import rgb
from harness.data.readers import opencv
from harness.data.readers.lists import checked_names, inside, name_of
from harness.data.readers.opencv import Pixels, Resized
from harness.data.readers.reader import SlicedReader
from harness.data.readers.record import Record
from harness.data.splits import parse
from harness.tasks.cards import SplitName

RADIUS, SIGMA, GREY, QUALITY = 300, 10, 128, 72
KEPT = int(RADIUS * 0.9)
USAGE = {"validation": "Public", "test": "Private"}


class Retinopathy(SlicedReader[str]):
    format = "retinopathy"
    arguments = ("counts",)

    def present(self) -> bool:
        return self.find("trainLabels.csv") is not None

    def keys(self, source: str) -> Sequence[str]:
        """Names of images, such as 10_left."""
        return list(self._grades(source))

    def records(self, split: SplitName) -> Sequence[Record]:
        source, _, _ = parse(self.card.slices[split])
        grades = self._grades(source)
        folder = self.need("train" if source == "train" else "test")
        chosen = self.selected(split)
        return self.images(
            [
                (opencv.marked(key), grades[key], inside(self.card, folder, f"{key}.jpeg"))
                for key in chosen
            ],
            processed,
        )

    def _grades(self, source: str) -> dict[str, int]:
        return self.once(source, lambda: self._read(source))

    def _read(self, source: str) -> dict[str, int]:
        """Grades by name, for one Usage if that is a column."""
        usage = USAGE.get(source)
        path = self.need("trainLabels.csv" if source == "train" else "retinopathy_solution.csv")
        rows = self.lists.table(path, ("image", "level", "Usage") if usage else ("image", "level"))
        grades = [(name_of(row[0]), row[1]) for row in rows if usage is None or row[2] == usage]
        for name, level in grades:
            if re.fullmatch("[0-9]", level) is None:
                raise self.error(
                    f"{path} has the grade {level[:20]!r} for {name[:60]!r}, expected"
                    " 0 to 4. Download it again."
                )
        checked_names(self.card, path, source, [name for name, _ in grades])
        return {name: int(level) for name, level in grades}


def processed(path: Path) -> Image:
    """As TensorFlow Datasets made it. Raises `OSError` and others for a file that isn't an
    image."""
    return rgb(io.BytesIO(opencv.encode(btgraham(opencv.decode(path.read_bytes())), QUALITY)))


def btgraham(image: Pixels) -> Resized:
    """The winner's processing, up to the encoding."""
    image = opencv.resize(image, RADIUS / _radius(image))
    image = np.clip(
        4 * image.astype(np.int16) - 4 * opencv.blur(image, SIGMA).astype(np.int16) + GREY, 0, 255
    ).astype(np.uint8)
    height, width, _ = image.shape
    image = np.where(opencv.disc(height, width, KEPT), image, np.uint8(GREY))
    y, x = height // 2, width // 2
    return np.ascontiguousarray(image[max(y - KEPT, 0) : y + KEPT, max(x - KEPT, 0) : x + KEPT])


def _radius(image: Pixels) -> float:
    """Half the width, in the middle row, of what is brighter than a tenth of the row's mean; half
    the height if nothing is."""
    row = image[image.shape[0] // 2].sum(axis=1)
    radius = float((row > row.mean() / 10).sum() / 2)
    return radius if radius >= 1 else image.shape[0] / 2
