"""The strip of test images: the same rows for everyone, and large images reduced."""

import base64
import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from harness.data.scenes import Scenes
from harness.inference.strip import SIDE, strip
from harness.training.segmentation import Segmentation


class Bright(nn.Module):
    """Class 1 where a pixel is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Identity()
        self.head.classes = 2  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Tensor:
        red = images[:, :1]
        return torch.cat([-red, red], 1)


class Part:
    def __init__(self, shapes: list[tuple[int, int]]):
        self.labels = np.zeros(len(shapes), np.int64)
        self.images = [
            np.repeat((np.arange(w) * 255 // w).astype(np.uint8)[None, :, None], h, 0).repeat(3, 2)
            for h, w in shapes
        ]
        self.targets = [np.full(shape, 255, np.uint8) for shape in shapes]

    def rows(self, index: np.ndarray) -> list[np.ndarray]:
        return [self.images[row] for row in index]

    def masks(self, index: np.ndarray) -> list[np.ndarray]:
        return [self.targets[row] for row in index]


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_the_rows_follow_from_the_splits_length_alone_and_a_short_split_is_shown_whole():
    small, large = ([(12, 16)] * n for n in (3, 40))
    rows = [
        [
            one["row"]
            for one in strip(
                Segmentation(), Bright(), Scenes([Part(shapes)], 12, 12), torch.device("cpu")
            )
        ]
        for shapes in (small, large, large)
    ]
    assert rows[0] == [0, 1, 2]
    assert rows[1] == rows[2] == sorted(set(rows[1]))
    assert len(rows[1]) == 4


def test_a_large_image_is_reduced_and_its_maps_keep_classes():
    (one,) = strip(
        Segmentation(), Bright(), Scenes([Part([(300, 400)])], 64, 64), torch.device("cpu")
    )
    image, truth, seen = (opened(one[name]) for name in ("image", "truth", "seen"))
    assert (image.format, truth.format, seen.format) == ("JPEG", "PNG", "PNG")
    assert image.size == truth.size == seen.size == (SIDE, 144)
    assert set(np.unique(np.asarray(truth))) == {255}
    pixels = np.asarray(seen)
    assert pixels[:, :70].max() == 0
    assert pixels[:, 110:].min() == 1
    assert len(one["image"]) < 20_000
