"""What every head is: it says what it reads, and a method gives it that."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from harness.backbones.frozen import Read

HeadInit = Literal["kaiming_normal", "xavier_uniform", "torch"]
"""Initial weights of a linear head."""


class Head(nn.Module):
    """Turns the tokens of some blocks into scores: a module that takes a list of tensors (batch,
    row, dim), one a block of `read.blocks`.

    It computes in its parameters' own type, float32, where the model around it runs under autocast
    too: in bfloat16, whose steps are 0.4 to 0.8 % of a logit, an image's best two classes are
    often the same number.
    """

    classes: int

    @property
    def read(self) -> Read:
        """Which blocks and rows; may differ between training and scoring."""
        raise NotImplementedError

    def forward(self, tokens: list[Tensor]) -> Any:
        own = next(self.parameters()).dtype
        features = self.features([one.to(own) for one in tokens])
        with without_autocast(tokens[0].device):
            return self.scores([one.to(own) for one in features])

    def features(self, tokens: list[Tensor]) -> list[Tensor]:
        """What `scores` reads: computed by the method or its backbone, in their arithmetic. As it
        stands, the tokens."""
        return tokens

    def scores(self, features: list[Any]) -> Any:
        """Never under autocast."""
        raise NotImplementedError


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Each operation in the type of what it is given."""
    if not torch.amp.is_autocast_available(device.type):  # meta, say
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
