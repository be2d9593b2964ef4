"""Turns kept pixels into a backbone's input: squares of one size, normalised, on the device."""

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from PIL import Image
from torch import Tensor

from harness.data.buffers import floats
from harness.data.normalization import IMAGENET, Statistics
from harness.data.preprocess import straight


def squares(
    pixels: str,
    images: Sequence[UInt8[np.ndarray, "_height _width 3"]],
    size: int,
    device: torch.device,
    training: bool = False,
    statistics: Statistics = IMAGENET,
) -> Float[Tensor, "batch 3 size size"]:
    """A batch from the kept pixels of its images, normalised: see `at_size`."""
    return normalised(at_size(pixels, images, size, device, training), statistics)


def at_size(
    pixels: str,
    images: Sequence[UInt8[np.ndarray, "_height _width 3"]],
    size: int,
    device: torch.device,
    training: bool = False,
) -> Shaped[Tensor, "batch size size 3"]:
    """Squares of values of 0 to 255: float32 of `tf`, else uint8. Only `vpt` in training draws
    random numbers: torch's, on the CPU."""
    if pixels == "pil":
        images = resized(images, size, torch.get_num_threads() if device.type == "cuda" else 1)
    if pixels == "vpt":
        images = [_crop(image, size, training) for image in images]
    if pixels == "tf":
        return legacy_bilinear(images, size, device)
    return _together(images, device)


def resized(
    images: Sequence[UInt8[np.ndarray, "_height _width 3"]], size: int, threads: int
) -> list[UInt8[np.ndarray, "size size 3"]]:
    """By Pillow, in so many threads: it lets others run while it resizes. A CPU's own jobs have
    its cores already, while a GPU would wait for one of them."""

    def square(image: UInt8[np.ndarray, "_height _width 3"]) -> UInt8[np.ndarray, "size size 3"]:
        if image.shape[:2] == (size, size):
            return image
        return np.asarray(straight(Image.fromarray(image), size))

    if threads == 1 or all(image.shape[:2] == (size, size) for image in images):
        return [square(image) for image in images]
    return list(_pool(threads).map(square, images))


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="resize")


def normalised(
    images: Shaped[Tensor, "batch height width 3"], statistics: Statistics = IMAGENET
) -> Float[Tensor, "batch 3 height width"]:
    """Values of 0 to 255, uint8 or float, minus the mean, divided by the std, channels first."""
    mean, std = _constants(statistics, images.device)
    n, height, width, _ = images.shape
    out = (
        floats(n, 3, height, width)
        if images.device.type == "cpu"
        else torch.empty(n, 3, height, width, device=images.device)
    )
    return out.copy_(images.permute(0, 3, 1, 2)).sub_(mean).div_(std)


@functools.cache
def _constants(statistics: Statistics, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and std of values of 0 to 255, each (3, 1, 1). Kept on the device: a copy there would
    wait for all work that is queued."""
    mean, std = (
        255 * torch.tensor(values, device=device).view(3, 1, 1)
        for values in (statistics.mean, statistics.std)
    )
    return mean, std


def legacy_bilinear(
    images: Sequence[UInt8[np.ndarray, "_height _width 3"]], size: int, device: torch.device
) -> Float[Tensor, "batch size size 3"]:
    """TensorFlow 1's `resize_bilinear` (no aligned corners, no half-pixel centres, no antialias),
    in its float32 arithmetic.

    Output pixel i is at i * (source side / size): it mixes the pixels below and above that
    position, weighted by its fraction; across first, then down. Nothing is rounded: the result is
    float, 0 to 255.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, image in enumerate(images):
        groups.setdefault(image.shape, []).append(place)
    out = torch.empty(len(images), size, size, 3, device=device)
    for (height, width, _), places in groups.items():
        source = _together([images[place] for place in places], device).to(torch.float32)
        left, right, across = _neighbours(width, size, device)
        top, bottom, down = _neighbours(height, size, device)
        across, down = across[:, None], down[:, None, None]
        at_left = source[:, :, left]
        mixed = at_left + (source[:, :, right] - at_left) * across
        at_top = mixed[:, top]
        rows = sent(torch.tensor(places), device)
        out.index_copy_(0, rows, at_top + (mixed[:, bottom] - at_top) * down)
    return out


@functools.lru_cache(maxsize=1024)
def _neighbours(side: int, size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each output pixel: the source pixels below and above its position, and its fraction
    between them. Kept on the device, as the constants are."""
    scale = torch.tensor(side, dtype=torch.float32) / torch.tensor(size, dtype=torch.float32)
    place = torch.arange(size, dtype=torch.float32) * scale
    below = place.floor()
    above = (below + 1).clamp(max=side - 1)
    return below.long().to(device), above.long().to(device), (place - below).to(device)


def _together(
    images: Sequence[np.ndarray], device: torch.device
) -> UInt8[Tensor, "batch height width 3"]:
    """One tensor on the device."""
    return sent(torch.from_numpy(np.stack(images)), device)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """To a device, which the CPU doesn't wait for."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def _crop(image: np.ndarray, size: int, training: bool) -> np.ndarray:
    """The centre; in training a random square, flipped with probability 0.5."""
    spare = image.shape[0] - size, image.shape[1] - size
    if not training:
        top, left = (round(length / 2) for length in spare)
        return image[top : top + size, left : left + size]
    top, left = (int(torch.randint(length + 1, ())) for length in spare)
    cropped = image[top : top + size, left : left + size]
    return cropped[:, ::-1] if torch.rand(()) < 0.5 else cropped
