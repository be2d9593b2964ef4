"""Top-1: exact, over images and not over classes. mIoU: against one that goes from pixel to pixel,
and against torchmetrics."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.functional.classification import multiclass_accuracy

from harness.training.metrics import confusion, overlap, top1


def test_top1_is_hits_over_images():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [0.0, 1.0, 2.0], [5.0, 1.0, 2.0]])
    assert top1(logits, torch.tensor([0, 1, 2, 1])) == 75.0
    assert top1(logits, torch.tensor([0, 0, 0, 0])) == 50.0


def test_ties_and_exactness():
    logits = torch.eye(3).repeat(100, 1)
    labels = torch.arange(3).repeat(100)
    labels[:87] = (labels[:87] + 1) % 3
    assert top1(logits, labels) == 100 * 213 / 300


@pytest.mark.parametrize("seed", range(4))
def test_top1_is_torchmetrics_and_the_first_of_equal_logits_counts(seed: int):
    """Values of a few steps: half of the rows have their highest logit more than once."""
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randint(4, (97, 5), generator=rng).float()
    labels = torch.randint(5, (97,), generator=rng)
    ties = (logits == logits.amax(1, keepdim=True)).sum(1) > 1
    assert ties.sum() > 30
    reference = multiclass_accuracy(logits, labels, num_classes=5, average="micro")
    assert top1(logits, labels) == pytest.approx(100 * reference.item(), abs=1e-4)
    first = [row.index(max(row)) for row in logits.tolist()]
    hits = sum(one == label for one, label in zip(first, labels.tolist(), strict=True))
    assert top1(logits, labels) == 100 * hits / 97


def maps(seed: int, classes: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Predictions and truths of odd sizes, some pixels ignored; the last class is nowhere, the one
    before it predicted but never true."""
    rng = np.random.default_rng(seed)
    pairs = []
    for shape in ((7, 5), (1, 13), (11, 11)):
        truth = rng.integers(0, max(1, classes - 2), shape).astype(np.uint8)
        predicted = np.where(
            rng.random(shape) < 0.6, truth, rng.integers(0, max(1, classes - 1), shape)
        ).astype(np.uint8)
        truth[rng.random(shape) < 0.2] = 255
        pairs.append((predicted, truth))
    return pairs


def slow(
    pairs: list[tuple[np.ndarray, np.ndarray]], classes: int
) -> tuple[Fraction, list[Fraction | None], Fraction]:
    """mIoU, the classes' IoU and pixel accuracy, one pixel after the other, in exact fractions."""
    both, either, right, counted = [0] * classes, [0] * classes, 0, 0
    for predicted, truth in pairs:
        for said, true in zip(predicted.ravel().tolist(), truth.ravel().tolist(), strict=True):
            if true == 255:
                continue
            counted += 1
            right += said == true
            for one in {said, true}:
                either[one] += 1
                both[one] += said == true
    each = [Fraction(b, e) if e else None for b, e in zip(both, either, strict=True)]
    seen = [iou for iou in each if iou is not None]
    return sum(seen, Fraction()) / len(seen), each, Fraction(right, counted)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [2, 4, 9, 150])
def test_miou_is_that_of_a_slow_count_of_pixels_and_torchmetrics(seed: int, classes: int):
    pairs = maps(seed, classes)
    counts = np.sum([confusion(predicted, truth, classes) for predicted, truth in pairs], axis=0)
    assert counts.dtype == np.int64
    found = overlap(counts)
    miou, each, accuracy = slow(pairs, classes)
    assert found.miou == pytest.approx(float(100 * miou), abs=1e-9)
    assert found.pixel_accuracy == pytest.approx(float(100 * accuracy), abs=1e-9)
    assert found.class_iou[-1] is None
    for ours, theirs in zip(found.class_iou, each, strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or ours == pytest.approx(float(100 * theirs), abs=1e-9)  # type: ignore[operator]
    reference = MulticlassJaccardIndex(classes, ignore_index=255, average="macro")
    for predicted, truth in pairs:
        reference.update(
            torch.from_numpy(predicted.astype(np.int64))[None],
            torch.from_numpy(truth.astype(np.int64))[None],
        )
    # theirs is float32
    assert found.miou / 100 == pytest.approx(reference.compute().item(), abs=1e-6)


def test_sums_over_more_pixels_than_float32_can_count_are_exact():
    counts = np.array([[2**40 + 1, 1], [0, 3]])
    assert overlap(counts).class_iou == (100 * (2**40 + 1) / (2**40 + 2), 75.0)


def test_where_every_pixel_is_ignored_there_is_no_overlap():
    ignored = np.full((3, 3), 255, np.uint8)
    found = overlap(confusion(np.zeros_like(ignored), ignored, 3))
    assert (found.miou, found.pixel_accuracy, found.class_iou) == (0.0, 0.0, (None, None, None))
