"""What a method may see of its task beside the batches of a step: the images that its run trains
on, and nothing else."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

Labels = Any
"""Of classification (image,), classes; of segmentation (image, height, width), masks."""


class TrainSplit:
    """The images that a run trains on: a trial's `train`, or all that a final run trains on.

    `Method.begin` and `Method.advance` are given one. There is no way from here to the images that
    the run is scored on.
    """

    def __init__(
        self,
        images: int,
        still: Callable[[Tensor], tuple[Tensor, Labels]],
        losses: Callable[[], Iterator[tuple[Tensor, int]]],
        seed: int,
        at_once: int,
        classes: int,
    ):
        """`still`: images and labels of some rows; `losses`: of the parts of an epoch's batches,
        with their sizes."""
        self._images, self._still, self._losses = images, still, losses
        self.at_once = at_once
        """Images that fit into memory together in a forward without gradients."""
        self.classes = classes
        self.generator = torch.Generator().manual_seed(seed)
        """On the CPU, from the run's seed: what is drawn with it moves nothing else that is
        random."""
        self.given = 0
        """Images that were handed out so far."""
        self.passed_back = 0
        """Images whose loss was handed out so far."""

    def __len__(self) -> int:
        return self._images

    def batch(self, rows: Tensor) -> tuple[Tensor, Labels]:
        """Images and labels of these rows, (image,) on the CPU, on the run's device: as in
        training, but without random crops. Of segmentation, the middle of each image."""
        self.given += len(rows)
        return self._still(rows)

    def batches(self) -> Iterator[tuple[Tensor, Labels]]:
        """All of them once, in their order, as `batch`."""
        for rows in torch.split(torch.arange(len(self)), self.at_once):
            yield self.batch(rows)

    def losses(self) -> Iterator[Tensor]:
        """An epoch of training without its steps: losses to call `backward` on, from gradients of
        zero.

        One a batch; where memory is short one a part of a batch, by its share of the batch.
        """
        for loss, images in self._losses():
            self.given += images
            self.passed_back += images
            yield loss
