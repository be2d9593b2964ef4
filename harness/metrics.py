"""Scores in percent, from logits and labels."""

from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy


def top1(logits: Float[Tensor, "image class"], labels: Int[Tensor, " image"]) -> float:
    """The share of images whose highest logit is their label's, in percent: VTAB's and FGVC's metric, never a mean per class."""
    return 100 * multiclass_accuracy(logits, labels, num_classes=logits.shape[1], average="micro").item()
