"""Splits of a segmentation task: random crops for training, full images with their masks for
scoring."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from harness.data.augment import Crop, distorted, draw, middle
from harness.data.batch import normalised
from harness.data.cache import Images
from harness.data.normalization import IMAGENET, Statistics

AHEAD = 2
"""Batches that threads prepare while a GPU works on the previous one."""


class Scenes:
    """Images with masks, in one or several parts. Nothing is read until it is needed."""

    def __init__(
        self, parts: Sequence[Images], crop: int, size: int, statistics: Statistics = IMAGENET
    ):
        """`crop`: the shorter side of an image at scale 1. `size`: of the squares that the backbone
        takes; the crop, rounded to patches. `statistics`: for normalising pixels."""
        self.parts = tuple(parts)
        self.crop, self.size, self.statistics = crop, size, statistics
        self.starts = np.cumsum([0, *(len(part.labels) for part in parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def scene(
        self, row: int
    ) -> tuple[UInt8[np.ndarray, "height width 3"], UInt8[np.ndarray, "height width"]]:
        """An image at its own size, and its mask."""
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        place = np.array([row - self.starts[part]])
        return self.parts[part].rows(place)[0], self.parts[part].masks(place)[0]

    def stream(
        self, batch_size: int, batches: int, seed: int, ahead: int = 0
    ) -> Iterator[list[Crop]]:
        """Batches of random crops, using all images in random order before repeating any. What is
        drawn depends only on `seed`.

        `ahead`: batches that threads draw in advance; 0: each is drawn when needed.
        """
        rows = self._order(seed)
        wanted = (
            [(next(rows), [seed, step, place]) for place in range(batch_size)]
            for step in range(batches)
        )
        if not ahead:
            yield from ([self._drawn(*one) for one in batch] for batch in wanted)
            return
        with ThreadPoolExecutor(min(8, batch_size)) as threads:
            coming: deque[list[Future[Crop]]] = deque()
            for batch in wanted:
                coming.append([threads.submit(self._drawn, *one) for one in batch])
                if len(coming) > ahead:
                    yield [one.result() for one in coming.popleft()]
            while coming:
                yield [one.result() for one in coming.popleft()]

    def middle(self, row: int) -> Crop:
        """The middle square of an image at scale 1, as it is."""
        return middle(*self.scene(row), self.crop, self.size)

    def _order(self, seed: int) -> Iterator[int]:
        rng = np.random.default_rng(seed)
        while True:
            yield from rng.permutation(len(self)).tolist()

    def _drawn(self, row: int, seed: list[int]) -> Crop:
        return draw(*self.scene(row), self.crop, self.size, np.random.default_rng(seed))


def together(
    crops: Sequence[Crop], device: torch.device, statistics: Statistics = IMAGENET
) -> tuple[Float[Tensor, "batch 3 size size"], Int64[Tensor, "batch size size"]]:
    """Crops as a backbone's input, on the device: distorted, normalised, padding zero; and their
    masks."""
    images, masks = (
        torch.from_numpy(np.stack(arrays))
        for arrays in ([c.image for c in crops], [c.mask for c in crops])
    )
    by = torch.tensor([crop.distortion for crop in crops])
    if device.type == "cuda":
        images, masks, by = (tensor.pin_memory() for tensor in (images, masks, by))
    images, masks, by = (tensor.to(device, non_blocking=True) for tensor in (images, masks, by))
    pixels = normalised(
        distorted(images.permute(0, 3, 1, 2).float(), by).permute(0, 2, 3, 1), statistics
    )
    for row, crop in enumerate(crops):
        pixels[row, :, crop.height :] = 0
        pixels[row, :, :, crop.width :] = 0
    return pixels, masks.long()
