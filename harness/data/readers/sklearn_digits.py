"""scikit-learn's embedded digits: 1,797 scans of 8 x 8 pixels in 17 greys, from the UCI ML
repository (Alpaydin and Kaynak, 1998)."""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.data.readers.record import Record
from harness.data.splits import order
from harness.errors import BadInput
from harness.tasks.cards import SPLITS, SplitName, TaskCard

ARGUMENTS = ("seed",)


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    """Consecutive rows of one seeded, stratified order: train, then val, then test, in the sizes
    that the card says."""
    images, labels = _digits()
    rows = _stratified(labels, card.reader.argument("seed", card.name, int))
    sizes = [card.sizes.get(name, 0) for name in SPLITS]
    if sum(sizes) > len(rows):
        raise BadInput(
            f"task {card.name}: sizes add up to {sum(sizes)}, and there are {len(rows)} digits."
        )
    start = sum(sizes[: SPLITS.index(split)])
    rows = rows[start : start + card.sizes.get(split, 0)]
    return [
        Record(str(row), int(labels[row]), images[row].tobytes, partial(_image, images[row]))
        for row in rows
    ]


def check(card: TaskCard, root: Path | None) -> None:
    """Nothing: these data come with a package."""


def _stratified(labels: np.ndarray, seed: int) -> list[int]:
    """Rows in an order of which every stretch has the classes in their shares: each class by md5
    (the same for ever), spread evenly."""
    place = {}
    for label in np.unique(labels):
        rows = order(np.flatnonzero(labels == label).tolist(), f"digits-{seed}-")
        place |= {row: ((rank + 0.5) / len(rows), int(label)) for rank, row in enumerate(rows)}
    return sorted(place, key=place.__getitem__)


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    return np.rint(bunch["images"] * 255 / 16).astype(np.uint8), bunch["target"]


def _image(row: np.ndarray) -> Image.Image:
    return Image.fromarray(row).convert("RGB")
