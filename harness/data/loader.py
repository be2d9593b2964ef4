"""Splits of a task, ready to train on; and the seal on the test split while tuning."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from harness.data.batch import squares
from harness.data.cache import Images, OnDecode, cached
from harness.data.normalization import IMAGENET, Statistics
from harness.data.scenes import Scenes
from harness.tasks.cards import SplitName, TaskCard


class Split:
    """Images, in one or several parts, and their labels. Nothing is read until a batch
    needs it."""

    def __init__(
        self,
        parts: Sequence[Images],
        pixels: str,
        size: int,
        training: bool,
        statistics: Statistics = IMAGENET,
    ):
        """`training`: whether to draw random crops, for pixels that have them. `statistics`: for
        normalising pixels."""
        self.parts = tuple(parts)
        self.pixels, self.size, self.training, self.statistics = pixels, size, training, statistics
        self.starts = np.cumsum([0, *(len(part.labels) for part in parts)])
        self.labels: Int64[Tensor, " image"] = torch.from_numpy(
            np.concatenate([part.labels for part in parts])
        )

    def __len__(self) -> int:
        return len(self.labels)

    def batch(
        self, index: Int64[Tensor, " batch"], device: torch.device
    ) -> tuple[Float[Tensor, "batch 3 size size"], Int64[Tensor, " batch"]]:
        """The images and labels of these rows, on the device; the images normalised."""
        images = squares(
            self.pixels,
            self._rows(index.numpy()),
            self.size,
            device,
            self.training,
            self.statistics,
        )
        labels = self.labels[index]
        return images, (labels.pin_memory() if device.type == "cuda" else labels).to(
            device, non_blocking=True
        )

    def still(self) -> "Split":
        """The same images with no random crops drawn."""
        if not self.training:
            return self
        return Split(self.parts, self.pixels, self.size, False, self.statistics)

    def _rows(self, index: np.ndarray) -> list[np.ndarray]:
        """The kept pixels of these rows, each from its part."""
        images: list[np.ndarray] = [np.empty(0)] * len(index)
        for start, part in zip(self.starts, self.parts, strict=False):
            (places,) = np.nonzero((index >= start) & (index < start + len(part.labels)))
            for place, image in zip(places, part.rows(index[places] - start), strict=True):
                images[place] = image
        return images


class TestSetSealed(RuntimeError):
    """The test split was requested while tuning."""

    __test__ = False  # its name looks like a test class to pytest


@dataclass(frozen=True)
class TuningData:
    """What a trial may see."""

    train: Any
    """A `Split`, or `Scenes` of a segmentation task, or a `harness.training.features.FeatureSplit`;
    the other splits too."""
    val: Any

    @property
    def test(self) -> NoReturn:
        raise TestSetSealed(
            "the test split is read once, by a final run: a trial that chose hyper-parameters on it"
            " would make its score worthless"
        )


@dataclass(frozen=True)
class FinalData:
    """What a final run trains on (the card's `train_on`) and is scored on, once."""

    train: Any
    test: Any


def open_tuning(
    card: TaskCard,
    root: Path | None,
    size: int,
    fingerprint: str,
    statistics: Statistics = IMAGENET,
    on_decode: OnDecode | None = None,
) -> TuningData:
    """Train and val, in squares of side `size`. The test split's list, files and cache are not
    touched. Raises `BadInput`."""
    train = _split(card, root, ("train",), size, fingerprint, statistics, on_decode, training=True)
    return TuningData(train, _split(card, root, ("val",), size, fingerprint, statistics, on_decode))


def open_final(
    card: TaskCard,
    root: Path | None,
    size: int,
    fingerprint: str,
    statistics: Statistics = IMAGENET,
    on_decode: OnDecode | None = None,
) -> FinalData:
    """The final run's training split, and test. Raises `BadInput`."""
    names: tuple[SplitName, ...] = ("train", "val") if card.train_on == "train+val" else ("train",)
    train = _split(card, root, names, size, fingerprint, statistics, on_decode, training=True)
    return FinalData(train, _split(card, root, ("test",), size, fingerprint, statistics, on_decode))


def _split(
    card: TaskCard,
    root: Path | None,
    names: tuple[SplitName, ...],
    size: int,
    fingerprint: str,
    statistics: Statistics,
    on_decode: OnDecode | None,
    training: bool = False,
) -> Split | Scenes:
    parts = [cached(card, root, name, size, fingerprint, on_decode) for name in names]
    if card.masked:
        return Scenes(parts, card.crop or size, size, statistics)
    return Split(parts, card.pixels, size, training, statistics)
