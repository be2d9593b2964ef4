"""What reading a task's images costs on this machine, measured on a few of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from harness.data.decode import decoded, masks
from harness.data.loader import Split, of_parts
from harness.data.normalization import Statistics
from harness.data.preprocess import kept
from harness.data.readers import TaskReader
from harness.planning.protocols import Settings
from harness.planning.timing import fastest
from harness.training.kinds import kind_of

FEW = 16
"""Images that are read, evenly spaced in the train split: the first are often of one class."""


@dataclass(frozen=True)
class Reading:
    """Seconds per image."""

    decode: float
    """From its file; once, since what is decoded stays in the cache."""
    train: float
    """From kept pixels to an input of the backbone, each time that it is trained on; 0 where a GPU
    keeps them."""
    scored: float
    """The same, each time that it is scored."""


FREE = Reading(0.0, 0.0, 0.0)
"""Of images that weren't read."""


@dataclass(frozen=True)
class _Sample:
    """A few images in memory, as the cache gives them."""

    labels: Int64[np.ndarray, " image"]
    images: Sequence[UInt8[np.ndarray, "_height _width 3"]]
    truths: Sequence[UInt8[np.ndarray, "_height _width"]]

    def rows(
        self, index: Int64[np.ndarray, " row"]
    ) -> Sequence[UInt8[np.ndarray, "_height _width 3"]]:
        return [self.images[row] for row in index]

    def masks(
        self, index: Int64[np.ndarray, " row"]
    ) -> Sequence[UInt8[np.ndarray, "_height _width"]]:
        return [self.truths[row] for row in index]


def measure(reader: TaskReader, protocol: Settings, size: int, statistics: Statistics) -> Reading:
    """Reads a few images of the train split, and touches no other; the cache isn't used.

    `size`: the side of the backbone's input. Raises `BadInput` for an image that can't be decoded.
    """
    card, kind = reader.card, kind_of(reader.card.kind)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = reader.read("train")
    few = [rows[place] for place in np.linspace(0, len(rows) - 1, min(FEW, len(rows)), dtype=int)]

    def read() -> _Sample:
        return _Sample(
            np.array([row.label for row in few], dtype=np.int64),
            list(decoded(card.name, few, lambda image: kept(card.pixels, image, size))),
            list(masks(card.name, few)) if card.masked else [],
        )

    split = of_parts(card, [read()], size, statistics, training=True)
    rates = {"base_lr": 0.0, "weight_decay": 0.0}  # may be searched; no batch depends on them
    recipe = kind.recipe(**{**rates, **protocol.fields_of(kind.recipe), "batch_size": len(few)})

    def train() -> None:
        first = next(iter(next(kind.rounds(split, recipe, 0, torch.device("cpu")))))
        kind.batch(split, first, device)

    def score() -> None:
        kind.still(split, torch.arange(len(few)), device)

    once = isinstance(split, Split) and split.is_kept(device)
    decode, scored = (fastest(work, device) / len(few) for work in (read, score))
    return Reading(decode, 0.0 if once else fastest(train, device) / len(few), scored)
