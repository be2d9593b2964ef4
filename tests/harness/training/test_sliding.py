"""Whole images by sliding windows: places, overlaps, bands and views, each beside a slow or a plain
way."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from harness.data.batch import normalised
from harness.data.scenes import Scenes
from harness.training import sliding
from harness.training.sliding import (
    MULTI_SCALE,
    SINGLE_SCALE,
    Sliding,
    View,
    measure,
    places,
)

CPU = torch.device("cpu")
CLASSES = 5


class Net(nn.Module):
    """Scores of every pixel from a large neighbourhood and from its place in the window, so that
    each window says something else."""

    def __init__(self, size: int):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, CLASSES, 7, padding=3)
        self.place = nn.Parameter(torch.randn(CLASSES, size, size))
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        return self.convolution(images) + self.place


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def scores(net: nn.Module, image: np.ndarray, crop: int, window: int, views=SINGLE_SCALE) -> Tensor:
    return Sliding(net, image, crop, window, CLASSES, CPU, views).scores(0, image.shape[0])


def test_windows_move_by_two_thirds_and_end_flush_with_the_border():
    assert places(512, 512) == [0]
    assert places(300, 512) == [0]
    assert places(683, 512) == [0, 171]
    assert places(853, 512) == [0, 341]
    assert places(854, 512) == [0, 341, 342]
    assert places(1024, 512) == [0, 341, 512]
    assert places(1, 1) == [0]
    for length in range(1, 100):
        covered = {
            pixel for start in places(length, 12) for pixel in range(start, min(length, start + 12))
        }
        assert covered == set(range(length))


def test_one_window_gives_the_whole_images_scores():
    net, image = Net(12), picture(12, 12)
    expected = net(normalised(torch.from_numpy(image)[None]))[0]
    torch.testing.assert_close(scores(net, image, 12, 12), expected)


def test_a_smaller_image_is_padded_with_the_mean_and_its_padding_cut_off():
    net, image = Net(12), picture(9, 12)
    found = scores(net, image, 9, 12)
    expected = F.pad(normalised(torch.from_numpy(image)[None]), (0, 0, 0, 3))
    assert torch.equal(net.seen[0], expected)
    torch.testing.assert_close(found, net(expected)[0, :, :9])


@pytest.mark.parametrize(("height", "width"), [(12, 31), (29, 12), (25, 37), (13, 12)])
def test_overlaps_are_averaged_as_in_a_slow_reference(height: int, width: int):
    net, image = Net(12), picture(height, width)
    pixels = normalised(torch.from_numpy(image)[None])
    sums, counts = torch.zeros(CLASSES, height, width), torch.zeros(height, width)
    # every window that is one of the grid's, or the last of its row or column
    for top in range(height):
        for left in range(width):
            if (
                (top % 8 == 0 or top == height - 12)
                and (left % 8 == 0 or left == width - 12)
                and top <= height - 12
                and left <= width - 12
            ):
                own = net(pixels[:, :, top : top + 12, left : left + 12])[0]
                for row in range(12):
                    for column in range(12):
                        sums[:, top + row, left + column] += own[:, row, column]
                        counts[top + row, left + column] += 1
    torch.testing.assert_close(scores(net, image, min(height, width), 12), sums / counts)


@pytest.mark.parametrize(("height", "width"), [(17, 23), (40, 31), (9, 70)])
@pytest.mark.parametrize("views", [SINGLE_SCALE, MULTI_SCALE], ids=["single", "multi"])
def test_bands_say_what_the_whole_label_says(
    height: int, width: int, views, monkeypatch: pytest.MonkeyPatch
):
    net, image = Net(12), picture(height, width)
    whole = scores(net, image, 14, 12, views)
    assert whole.shape == (CLASSES, height, width)
    sliding_ = Sliding(net, image, 14, 12, CLASSES, CPU, views)
    for top, bottom in ((0, 1), (3, 8), (height - 2, height)):
        torch.testing.assert_close(sliding_.scores(top, bottom), whole[:, top:bottom])
    maps = sliding_.classes_of_pixels()
    assert (maps.shape, maps.dtype) == ((height, width), np.uint8)
    monkeypatch.setattr(sliding, "FLOATS", 4 * CLASSES * width)
    narrow = Sliding(net, image, 14, 12, CLASSES, CPU, views)
    assert len(list(narrow._bands())) >= height / 4
    assert np.array_equal(narrow.classes_of_pixels(), maps)


def test_scores_are_resized_to_the_labels_own_size_as_torch_does_it():
    net, image = Net(12), picture(31, 47)
    small = np.asarray(Image.fromarray(image).resize((21, 14), Image.Resampling.BILINEAR))
    expected = F.interpolate(
        scores(net, small, 14, 12)[None], size=(31, 47), mode="bilinear", align_corners=False
    )[0]
    torch.testing.assert_close(scores(net, image, 14, 12), expected)


def test_several_views_are_the_mean_of_their_softmax():
    net, image = Net(12), picture(16, 20)
    views = (View(), View(0.5), View(1.5, True))
    expected = torch.zeros(CLASSES, 16, 20)
    for view, (height, width) in zip(views, ((16, 20), (8, 10), (24, 30)), strict=True):
        seen = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        own = scores(
            net, np.ascontiguousarray(seen[:, ::-1]) if view.mirrored else seen, height, 12
        )
        own = own.flip(2) if view.mirrored else own
        own = F.interpolate(own[None], size=(16, 20), mode="bilinear", align_corners=False)[0]
        expected += own.softmax(0) / 3
    torch.testing.assert_close(scores(net, image, 16, 12, views), expected)
    assert [(view.scale, view.mirrored) for view in MULTI_SCALE[:3]] == [
        (0.5, False),
        (0.5, True),
        (0.75, False),
    ]
    assert len(MULTI_SCALE) == 12


def test_a_mirrored_view_of_a_net_that_knows_no_sides_is_the_plain_view():
    class Pointwise(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.cat([images, images[:, :2] * 2], 1)

    image = picture(16, 29)
    plain = scores(Pointwise(), image, 16, 12, (View(), View()))
    torch.testing.assert_close(scores(Pointwise(), image, 16, 12, (View(), View(1.0, True))), plain)


class Part:
    def __init__(self, shapes: list[tuple[int, int]]):
        self.images = [picture(*shape, seed) for seed, shape in enumerate(shapes)]
        rng = np.random.default_rng(0)
        self.targets = [
            rng.choice([0, 1, 2, 3, 4, 255], shape).astype(np.uint8) for shape in shapes
        ]
        self.labels = np.zeros(len(shapes), np.int64)

    def rows(self, index: np.ndarray) -> list[np.ndarray]:
        return [self.images[row] for row in index]

    def masks(self, index: np.ndarray) -> list[np.ndarray]:
        return [self.targets[row] for row in index]


def test_a_split_is_counted_at_its_labels_own_sizes_and_its_windows_are_told():
    part, net = Part([(12, 12), (17, 40), (30, 14)]), Net(12)
    found = measure(net, Scenes([part], 12, 12), CLASSES, CPU)
    assert found.confusion.sum() == sum((mask != 255).sum() for mask in part.targets)
    assert found.windows == sum(len(seen) for seen in net.seen) == 1 + 3 + 3
    again = measure(net, Scenes([part], 12, 12), CLASSES, CPU)
    assert again.sha256 == found.sha256
    other = measure(net, Scenes([part], 12, 12), CLASSES, CPU, MULTI_SCALE)
    assert other.sha256 != found.sha256
