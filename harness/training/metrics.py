"""Scores in percent, from logits and labels, or from maps of classes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Int64, UInt8
from torch import Tensor

from harness.tasks.kinds import IGNORED


def top1(logits: Float[Tensor, "image class"], labels: Int[Tensor, " image"]) -> float:
    """The share of images whose highest logit is their label's, in percent: VTAB's and FGVC's
    metric, never a mean per class."""
    return 100 * int((logits.argmax(1) == labels).sum()) / len(labels)


@dataclass(frozen=True)
class Overlap:
    """How maps of classes agree with masks, over a whole split. All in percent."""

    miou: float
    """The mean of `class_iou` over the classes that have one. 0 where none has: every pixel was
    ignored."""
    pixel_accuracy: float
    class_iou: tuple[float | None, ...]
    """Intersection over union of each class. None where it is in no mask and was predicted nowhere:
    it is left out of the mean, as torchmetrics' MulticlassJaccardIndex leaves it out; predicted
    where it isn't, it counts as 0."""


def confusion(
    predicted: UInt8[np.ndarray, "..."], truth: UInt8[np.ndarray, "..."], classes: int
) -> Int64[np.ndarray, "classes classes"]:
    """Pixels by true class (rows) and predicted class, those without a true class (255) left out.
    Sums of it are exact."""
    counted = truth != IGNORED
    pairs = truth[counted].astype(np.int64) * classes + predicted[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def overlap(counts: Int64[np.ndarray, "classes classes"]) -> Overlap:
    """From a confusion matrix summed over a split: intersections and unions are summed first, then
    divided."""
    hits = counts.diagonal()
    unions = counts.sum(0) + counts.sum(1) - hits
    each = tuple(
        100 * int(hit) / int(union) if union else None
        for hit, union in zip(hits, unions, strict=True)
    )
    found = [iou for iou in each if iou is not None]
    total = int(counts.sum())
    return Overlap(
        sum(found) / len(found) if found else 0.0,
        100 * int(hits.sum()) / total if total else 0.0,
        each,
    )
