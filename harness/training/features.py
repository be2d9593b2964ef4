"""Tokens of a frozen backbone, computed once: a method with constant features then trains its head
on them alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.backbones.frozen import Read
from harness.data.batch import sent
from harness.training.forward import EVAL_BATCH, Batches, outputs
from harness.training.heads import check_tokens
from harness.training.method import Method

MOST = 2**28
"""Bytes of a split's tokens that a GPU keeps: a head's step is too short to copy them each time."""


@dataclass(frozen=True)
class FeatureSplit:
    """One split as tokens: what the head would have read. Takes the place of the images' split."""

    tokens: Tensor
    """(image, row, dim), on the device that reads them, up to `MOST` bytes; else on the CPU."""
    labels: Tensor
    """(image,), on the CPU."""

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        tokens = self.tokens[sent(index, self.tokens.device)]
        return tokens.to(device, non_blocking=True), sent(self.labels[index], device)


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

    found = outputs(tokens, split, device, at_once)
    kept = device if found.nbytes <= MOST else torch.device("cpu")
    return FeatureSplit(found.to(kept), split.labels)
