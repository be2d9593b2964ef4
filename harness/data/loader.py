"""Splits of a task, ready to train on; and the seal on the test split while tuning."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from harness.cards import SplitName, TaskCard
from harness.data.cache import Images, cached
from harness.train import Batches

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, for every backbone, as in VPT's released code."""


def normalised(pixels: UInt8[Tensor, "batch size size 3"], device: torch.device) -> Float[Tensor, "batch 3 size size"]:
    """Pixels as a backbone takes them, on the device: channels first, ImageNet's mean and std taken out."""
    mean, std = (255 * torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, STD))
    images = pixels.to(device, non_blocking=True).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return images.sub_(mean).div_(std)


class Split:
    """Images, in one or several mapped files, and their labels. Nothing is read before a batch asks for it."""

    def __init__(self, parts: Sequence[Images]):
        self.images = tuple(part.images for part in parts)
        self.starts = np.cumsum([0, *(len(part.labels) for part in parts)])
        self.labels: Int64[Tensor, " image"] = torch.from_numpy(np.concatenate([part.labels for part in parts]))

    def __len__(self) -> int:
        return len(self.labels)

    def batch(
        self, index: Int64[Tensor, " batch"], device: torch.device
    ) -> tuple[Float[Tensor, "batch 3 size size"], Int64[Tensor, " batch"]]:
        """The images and labels of these rows, on the device; images with ImageNet's mean and std taken out."""
        pixels, labels = torch.from_numpy(self._pixels(index.numpy())), self.labels[index]
        if device.type == "cuda":
            pixels, labels = pixels.pin_memory(), labels.pin_memory()
        return normalised(pixels, device), labels.to(device, non_blocking=True)

    def _pixels(self, rows: np.ndarray) -> np.ndarray:
        """uint8 (batch, size, size, 3), in memory."""
        pixels = np.empty((len(rows), *self.images[0].shape[1:]), np.uint8)
        for start, images in zip(self.starts, self.images, strict=False):
            mine = (rows >= start) & (rows < start + len(images))
            pixels[mine] = images[rows[mine] - start]
        return pixels


class TestSetSealed(RuntimeError):
    """Something asked for the test split while tuning."""

    __test__ = False  # its name looks like a test class to pytest


@dataclass(frozen=True)
class TuningData:
    """What a trial may see."""

    train: Batches
    val: Batches

    @property
    def test(self) -> NoReturn:
        raise TestSetSealed(
            "the test split is read once, by a final run: a trial that chose hyper-parameters on it would make its score worthless"
        )


@dataclass(frozen=True)
class FinalData:
    """What a final run trains on (the card's `train_on`) and is scored on, once."""

    train: Batches
    test: Batches


def open_tuning(card: TaskCard, root: Path | None, size: int, fingerprint: str) -> TuningData:
    """Train and val. The test split's list, files and cache are not touched. Raises `BadInput`."""
    train, val = (_split(card, root, (name,), size, fingerprint) for name in ("train", "val"))
    return TuningData(train, val)


def open_final(card: TaskCard, root: Path | None, size: int, fingerprint: str) -> FinalData:
    """The final run's training split, and test. Raises `BadInput`."""
    names: tuple[SplitName, ...] = ("train", "val") if card.train_on == "train+val" else ("train",)
    return FinalData(_split(card, root, names, size, fingerprint), _split(card, root, ("test",), size, fingerprint))


def _split(card: TaskCard, root: Path | None, names: tuple[SplitName, ...], size: int, fingerprint: str) -> Split:
    return Split([cached(card, root, name, size, fingerprint) for name in names])
