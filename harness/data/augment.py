"""Random augmentation of segmentation's training images: scale, crop, flip, and photometric
distortion.

The recipe is MMSegmentation's for ADE20K (`configs/_base_/datasets/ade20k.py` there), which the
field's numbers come from: scale 0.5 to 2 of the image whose shorter side is the crop's (its longer
at most four times that), a random crop in which no class takes more than 75 %, flipped with
probability 0.5, then the distortion. Ours resizes with Pillow's bilinear filter and distorts in
float, theirs with OpenCV in uint8.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from harness.tasks.kinds import IGNORED

SCALES = (0.5, 2.0)
LONGEST = 4
"""The longer side at scale 1, in crops: MMSegmentation's 2048 for 512."""
MOST_OF_ONE_CLASS, TRIES = 0.75, 10
"""A crop with a larger share of one class is drawn again, up to this many times."""
BRIGHTNESS, CONTRAST, SATURATION, HUE = 32.0, (0.5, 1.5), (0.5, 1.5), 36.0
"""Largest changes: added to values of 0 to 255; factors; degrees (OpenCV's 18 of 180)."""
NO_DISTORTION = (0.0, 1.0, 1.0, 0.0, 1.0)


UNDISTORTED = (0.0, 1.0, 1.0, 0.0, 1.0)
"""A `Crop.distortion` that changes nothing."""


@dataclass(frozen=True)
class Crop:
    """One training image, cut out and padded, not yet distorted."""

    image: UInt8[np.ndarray, "size size 3"]
    mask: UInt8[np.ndarray, "size size"]
    height: int
    """With `width`: the part of the square that is image; the rest, to the right and below, is
    padding."""
    width: int
    distortion: tuple[float, float, float, float, float]
    """Brightness added, saturation's factor, hue's degrees, and contrast's factor before and after
    these two: (b, c0, s, h, c1)."""


def scaled(height: int, width: int, crop: int, scale: float) -> tuple[int, int]:
    """The size of an image at a scale: the shorter side is `crop` at scale 1, unless the longer one
    would exceed four crops."""
    factor = scale * min(crop / min(height, width), LONGEST * crop / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def resized(
    image: UInt8[np.ndarray, "..."], height: int, width: int, resampling: Image.Resampling
) -> UInt8[np.ndarray, "..."]:
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), resampling))


def draw(
    image: UInt8[np.ndarray, "height width 3"],
    mask: UInt8[np.ndarray, "height width"],
    crop: int,
    size: int,
    rng: np.random.Generator,
) -> Crop:
    """A random square of side `size` of the image at a random scale; `crop` is the shorter side at
    scale 1."""
    height, width = scaled(mask.shape[0], mask.shape[1], crop, rng.uniform(*SCALES))
    image, mask = (
        resized(image, height, width, Image.Resampling.BILINEAR),
        resized(mask, height, width, Image.Resampling.NEAREST),
    )
    for _ in range(TRIES):
        top, left = (int(rng.integers(max(0, side - size) + 1)) for side in (height, width))
        cut = mask[top : top + size, left : left + size]
        counts = np.bincount(cut.ravel(), minlength=IGNORED + 1)[:IGNORED]
        if np.count_nonzero(counts) > 1 and counts.max() < MOST_OF_ONE_CLASS * counts.sum():
            break
    image = image[top : top + size, left : left + size]
    if rng.random() < 0.5:
        image, cut = image[:, ::-1], cut[:, ::-1]
    return _padded(image, cut, size, _distortion(rng))


def middle(
    image: UInt8[np.ndarray, "height width 3"],
    mask: UInt8[np.ndarray, "height width"],
    crop: int,
    size: int,
) -> Crop:
    """The middle square of side `size` of the image, whose shorter side becomes `crop`; nothing is
    drawn at random."""
    height, width = scaled(mask.shape[0], mask.shape[1], crop, 1.0)
    top, left = (max(0, side - size) // 2 for side in (height, width))
    image, mask = (
        resized(image, height, width, Image.Resampling.BILINEAR),
        resized(mask, height, width, Image.Resampling.NEAREST),
    )
    square = slice(top, top + size), slice(left, left + size)
    return _padded(image[square], mask[square], size, UNDISTORTED)


def _padded(
    image: UInt8[np.ndarray, "height width 3"],
    mask: UInt8[np.ndarray, "height width"],
    size: int,
    distortion: tuple[float, float, float, float, float],
) -> Crop:
    """A square of side `size`, filled up to the right and below."""
    rows, columns = mask.shape
    padded, padded_mask = (
        np.zeros((size, size, 3), np.uint8),
        np.full((size, size), IGNORED, np.uint8),
    )
    padded[:rows, :columns], padded_mask[:rows, :columns] = image, mask
    return Crop(padded, padded_mask, rows, columns, distortion)


def _distortion(rng: np.random.Generator) -> tuple[float, float, float, float, float]:
    """Each change with probability 0.5; contrast comes before saturation and hue, or after them,
    with equal probability."""
    brightness = rng.uniform(-BRIGHTNESS, BRIGHTNESS) if rng.random() < 0.5 else 0.0
    contrast = rng.uniform(*CONTRAST) if rng.random() < 0.5 else 1.0
    saturation = rng.uniform(*SATURATION) if rng.random() < 0.5 else 1.0
    hue = rng.uniform(-HUE, HUE) if rng.random() < 0.5 else 0.0
    before, after = (contrast, 1.0) if rng.random() < 0.5 else (1.0, contrast)
    return brightness, before, saturation, hue, after


def distorted(
    images: Float[Tensor, "batch 3 height width"], by: Float[Tensor, "batch 5"]
) -> Float[Tensor, "batch 3 height width"]:
    """RGB of 0 to 255, changed by each image's (brightness, contrast, saturation, hue, contrast);
    clipped after each step."""
    brightness, before, saturation, hue, after = (
        by[:, step, None, None, None] for step in range(5)
    )
    images = ((images + brightness).clamp(0, 255) * before).clamp(0, 255)
    h, s, v = hsv(images)
    images = rgb((h + hue[:, 0]) % 360, (s * saturation[:, 0]).clamp(0, 1), v)
    return (images * after).clamp(0, 255)


def hsv(images: Float[Tensor, "batch 3 height width"]) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in degrees, saturation 0 to 1, value in the channels' range: each (batch, height, width).
    Grey has hue and saturation 0."""
    red, green, blue = images.unbind(1)
    v, least = images.amax(1), images.amin(1)
    spread = v - least
    safe = spread.where(spread > 0, torch.ones_like(spread))
    h = torch.where(
        v == red,
        (green - blue) / safe % 6,
        torch.where(v == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    return (
        60 * h.where(spread > 0, torch.zeros_like(h)),
        spread / v.where(v > 0, torch.ones_like(v)),
        v,
    )


def rgb(h: Tensor, s: Tensor, v: Tensor) -> Float[Tensor, "batch 3 height width"]:
    """The inverse of `hsv`."""
    channels = []
    for turn in (5, 3, 1):
        k = (turn + h / 60) % 6
        channels.append(v - v * s * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, 1)
