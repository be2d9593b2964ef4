"""What every head is: it says what it reads, and a method gives it that."""

from typing import Literal

from torch import nn

from harness.backbones.frozen import Read

HeadInit = Literal["kaiming_normal", "xavier_uniform", "torch"]
"""Initial weights of a linear head."""


class Head(nn.Module):
    """Turns the tokens of some blocks into scores: a module that takes a list of tensors (batch,
    row, dim), one a block of `read.blocks`."""

    classes: int

    @property
    def read(self) -> Read:
        """Which blocks and rows; may differ between training and scoring."""
        raise NotImplementedError
