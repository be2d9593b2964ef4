"""Tokens of a frozen backbone, computed once: a method with constant features then trains its head
on them alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.backbones.frozen import Read
from harness.training.forward import EVAL_BATCH, Batches, outputs
from harness.training.heads import check_tokens
from harness.training.method import Method


@dataclass(frozen=True)
class FeatureSplit:
    """One split as tokens: what the head would have read. Takes the place of the images' split."""

    tokens: Tensor
    """(image, row, dim), on the CPU."""
    labels: Tensor
    """(image,)"""

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        return self.tokens[index].to(device, non_blocking=True), self.labels[index].to(
            device, non_blocking=True
        )


def features(
    method: Method, read: Read, split: Batches, device: torch.device, at_once: int = EVAL_BATCH
) -> FeatureSplit:
    """The tokens of `read`'s one block for every image of `split`, in record order. Only for pixels
    that don't change between epochs."""
    method.eval().to(device)

    def tokens(images: Tensor) -> Tensor:
        found = method(images, read)
        check_tokens(method, read, found, len(images))
        return found[0]

    return FeatureSplit(outputs(tokens, split, device, at_once), split.labels)
