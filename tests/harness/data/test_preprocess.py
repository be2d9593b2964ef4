"""Pixels: each rule against a slow reference, pixel by pixel, or values worked out by hand."""

import math

import numpy as np
import pytest
import torch
import torchvision.transforms as transforms
from PIL import Image

from harness.data.batch import legacy_bilinear, normalised, resized, squares
from harness.data.normalization import IMAGENET
from harness.data.preprocess import kept, shorter_side

CPU = torch.device("cpu")


def scalar_bilinear(image: np.ndarray, size: int) -> np.ndarray:
    """The definition, one value at a time, each operation rounded to float32."""
    f = np.float32
    height, width, _ = image.shape
    down, across = f(height) / f(size), f(width) / f(size)
    out = np.empty((size, size, 3), np.float32)
    for i in range(size):
        y = f(i) * down
        top = math.floor(y)
        bottom, dy = min(top + 1, height - 1), y - f(top)
        for j in range(size):
            x = f(j) * across
            left = math.floor(x)
            right, dx = min(left + 1, width - 1), x - f(left)
            for c in range(3):
                a, b = f(image[top, left, c]), f(image[top, right, c])
                above = a + (b - a) * dx
                a, b = f(image[bottom, left, c]), f(image[bottom, right, c])
                below = a + (b - a) * dx
                out[i, j, c] = above + (below - above) * dy
    return out


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(5, 7, 11), (16, 9, 6), (8, 8, 8), (1, 3, 4), (32, 32, 21), (3, 40, 17)],
)
def test_tf_is_bit_true_to_its_definition(height: int, width: int, size: int):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(
        legacy_bilinear([image], size, CPU)[0].numpy(), scalar_bilinear(image, size)
    )


def test_tf_by_hand():
    image = np.array([[0, 100], [200, 40]], np.uint8)[:, :, None].repeat(3, 2)
    # places 0, 0.5, 1, 1.5: halfway between two pixels, and past the last one the last one
    row = [[0, 50, 100, 100], [100, 85, 70, 70], [200, 120, 40, 40], [200, 120, 40, 40]]
    assert legacy_bilinear([image], 4, CPU)[0, :, :, 0].tolist() == row
    # halving takes every second pixel: there is no antialias
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)[:, :, None].repeat(3, 2)
    assert legacy_bilinear([grey], 2, CPU)[0, :, :, 0].tolist() == [[0, 2], [8, 10]]


def test_tf_batches_hold_images_of_any_shape_in_order():
    rng = np.random.default_rng(1)
    images = [
        rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for height, width in ((5, 7), (9, 4), (5, 7))
    ]
    together = squares("tf", images, 6, CPU)
    for own, image in zip(together, images, strict=True):
        assert torch.equal(own, normalised(torch.from_numpy(scalar_bilinear(image, 6))[None])[0])


def test_threads_resize_to_the_same_pixels_in_the_same_order():
    rng = np.random.default_rng(3)
    images = [
        rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for height, width in ((5, 7), (9, 4), (8, 8), (64, 64), (30, 1))
    ]
    in_threads = resized(images, 8, 3)
    for found, image in zip(in_threads, images, strict=True):
        by_pillow = Image.fromarray(image).resize((8, 8), Image.Resampling.BICUBIC)
        assert np.array_equal(found, np.asarray(by_pillow))


def test_tf_is_kept_at_source_size():
    image = Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3))
    assert np.array_equal(kept("tf", image, 224), np.asarray(image))


@pytest.mark.parametrize("shape", [(300, 400), (500, 333), (256, 256), (40, 90)])
def test_vpt_is_torchvisions_resize_and_centre_crop(shape: tuple[int, int]):
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8))
    steps = [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize(IMAGENET.mean, IMAGENET.std),
    ]
    expected = transforms.Compose(steps)(image)
    torch.testing.assert_close(
        squares("vpt", [kept("vpt", image, 224)], 224, CPU)[0], expected, rtol=0, atol=1e-5
    )


def test_vpt_trains_on_random_crops_that_follow_the_seed():
    column = np.arange(48, dtype=np.uint8)[None, :, None].repeat(32, 0).repeat(3, 2)

    def crops(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return squares("vpt", [column] * 40, 28, CPU, training=True)

    assert torch.equal(crops(0), crops(0))
    assert not torch.equal(crops(0), crops(1))
    starts = (crops(0)[:, 0, 0, :] * 255 * IMAGENET.std[0] + 255 * IMAGENET.mean[0]).round()
    mirrored = starts[:, 0] > starts[:, -1]
    assert 5 < mirrored.sum() < 35
    first = torch.where(mirrored, starts[:, -1], starts[:, 0])
    assert first.min() >= 0
    assert first.max() <= 20
    assert len(first.unique()) > 5
    assert torch.equal(starts.diff(dim=1).abs(), torch.ones(40, 27))


def test_the_shorter_side_is_what_is_asked_for():
    assert shorter_side(Image.new("RGB", (100, 50)), 64).size == (128, 64)
    assert shorter_side(Image.new("RGB", (50, 101)), 64).size == (64, 129)
