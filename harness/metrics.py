"""Scores in percent, from logits and labels."""

from jaxtyping import Float, Int
from torch import Tensor


def top1(logits: Float[Tensor, "image class"], labels: Int[Tensor, " image"]) -> float:
    """The share of images whose highest logit is their label's, in percent: VTAB's and FGVC's metric, never a mean per class."""
    from torchmetrics.functional.classification import multiclass_stat_scores  # takes seconds to import

    hits = multiclass_stat_scores(logits, labels, num_classes=logits.shape[1], average="micro")[0]
    return 100 * hits.item() / len(labels)
