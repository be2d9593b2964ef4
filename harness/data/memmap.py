"""The images of one split, concatenated in one file (masks in another) and mapped into memory: the
form of cached and prepared data."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int64, UInt8


@dataclass(frozen=True)
class Mapped:
    """Kept on disk, concatenated, mapped read-only."""

    labels: Int64[np.ndarray, " image"]
    shapes: Int64[np.ndarray, "image 2"]
    """Heights and widths."""
    flat: UInt8[np.ndarray, " byte"]
    flat_masks: UInt8[np.ndarray, " pixel"] | None = None
    """For a segmentation task: a third of the images' bytes."""

    @cached_property
    def starts(self) -> Int64[np.ndarray, " boundary"]:
        return np.concatenate([[0], np.cumsum(3 * self.shapes.prod(1))])

    def rows(
        self, index: Int64[np.ndarray, " row"]
    ) -> Sequence[UInt8[np.ndarray, "_height _width 3"]]:
        return [
            self.flat[self.starts[row] : self.starts[row + 1]].reshape(*self.shapes[row], 3)
            for row in index
        ]

    def masks(
        self, index: Int64[np.ndarray, " row"]
    ) -> Sequence[UInt8[np.ndarray, "_height _width"]]:
        assert self.flat_masks is not None
        starts = self.starts // 3
        return [
            self.flat_masks[starts[row] : starts[row + 1]].reshape(self.shapes[row])
            for row in index
        ]
