"""Splits of a task, ready to train on; and the seal on the test split while tuning."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from harness.data.batch import at_size, normalised, sent, squares
from harness.data.cache import Images, OnDecode, cached
from harness.data.normalization import IMAGENET, Statistics
from harness.data.scenes import Scenes
from harness.tasks.cards import SplitName, TaskCard

AT_ONCE, MOST = 64, 2**30
"""Images that are resized together for a GPU to keep; and bytes of them that it keeps at most."""


class Split:
    """Images, in one or several parts, and their labels. Nothing is read until a batch
    needs it."""

    kept: "tuple[Split, Tensor, Tensor] | None" = None
    """The last split that was trained on by this process's GPU, and there its images, resized, and
    its labels: every epoch of every trial reads them again."""

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
        if self.is_kept(device):
            _, images, labels = self._kept(device)
            rows = sent(index, device)
            return normalised(images[rows], self.statistics), labels[rows]
        images = squares(
            self.pixels,
            self._rows(index.numpy()),
            self.size,
            device,
            self.training,
            self.statistics,
        )
        return images, sent(self.labels[index], device)

    def is_kept(self, device: torch.device) -> bool:
        """Whether the device keeps all images: a GPU those of a training split that are the same
        in every epoch and need no more than `MOST`."""
        value = 4 if self.pixels == "tf" else 1
        return (
            device.type == "cuda"
            and self.training
            and self.pixels != "vpt"
            and len(self) * self.size**2 * 3 * value <= MOST
        )

    def _kept(self, device: torch.device) -> "tuple[Split, Tensor, Tensor]":
        if Split.kept is None or Split.kept[0] is not self:
            Split.kept = None  # first, so that no two are kept
            images = [
                at_size(self.pixels, self._rows(rows), self.size, device)
                for rows in np.split(np.arange(len(self)), range(AT_ONCE, len(self), AT_ONCE))
            ]
            Split.kept = self, torch.cat(images), sent(self.labels, device)
        return Split.kept

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
    return of_parts(card, parts, size, statistics, training)


def of_parts(
    card: TaskCard,
    parts: Sequence[Images],
    size: int,
    statistics: Statistics,
    training: bool = False,
) -> Split | Scenes:
    """A split of a task: its images as the task's kind wants them."""
    if card.masked:
        return Scenes(parts, card.crop or size, size, statistics)
    return Split(parts, card.pixels, size, training, statistics)
