"""VFPT, Visual Fourier Prompt Tuning: Zeng et al., NeurIPS 2024, arXiv 2411.01327, section 3.2.

With P_l the N learnable prompts of block l, drop(.) prompt dropout, m = floor(alpha N), and F the
discrete Fourier transform, not normalised, over the channels (h) and over the m prompts (s):

    P~_l = [Re(F_s(F_h(drop(P_l)[1..m]))), drop(P_l)[m+1..N]],   [x_l, _, E_l] = L_l([x_{l-1}, P~_l,
           E_{l-1}])

The first block is treated as all others. Without the transform, alpha = 0, this is VPT-Deep.

As released: dropout comes before the transform, which spreads a dropped entry over all others; the
paper's figure doesn't show it. m is rounded down; where it is 0 and alpha isn't, the released code
fails, and here the prompts stay as they are. The released options to place the transformed prompts
behind the others change nothing, since attention doesn't see the order; those to draw them anew or
to leave out blocks aren't here. The values of alpha that are searched are ours.

Equal to the released code (commit 1b3d984), in float64: logits to 1e-14, gradients to 1e-15.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from optuna.distributions import FloatDistribution
from torch import Tensor

from harness import (
    ANY_LENGTH,
    PROMPT_DROPOUT,
    PROMPT_LENGTHS,
    FrozenBackbone,
    Method,
    PromptDropout,
    Read,
    new_prompts,
)


class VFPT(Method):
    """VPT-Deep, of whose prompts a share `alpha` is given to a Fourier transform over the channels
    (`hidden`) and over the prompts (`sequence`)."""

    name = "vfpt"
    family = "prompts"
    year = 2024
    summary = "VFPT: VPT-Deep with Fourier transforms of some of the prompts (arXiv 2411.01327)"
    note = (
        "vfpt's count is nominal: the real part of a spectrum keeps the even half of what is"
        " transformed, so about half the values of transformed prompts have no effect. Published"
        " numbers chose alpha for each task, from values that aren't released."
    )
    needs = ("prompts",)
    search_space = {"prompts": PROMPT_LENGTHS, "alpha": (0.0, 0.3, 0.5, 0.7, 1.0)}
    allows = {"prompts": ANY_LENGTH, "alpha": FloatDistribution(0.0, 1.0)}
    toggles = ("hidden", "sequence")

    def __init__(
        self,
        vit: FrozenBackbone,
        prompts: int = 10,
        alpha: float = 0.5,
        dropout: float = PROMPT_DROPOUT,
        hidden: bool = True,
        sequence: bool = True,
    ):
        self.check(locals())
        super().__init__(vit)
        self.prompts = new_prompts(vit, vit.depth, prompts)
        self.dropout = PromptDropout(dropout)
        self.transformed = math.floor(alpha * prompts)
        self.axes = (-1,) * hidden + (-2,) * sequence

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        if not 0 <= arguments.get("alpha", 0.5) <= 1:
            raise ValueError("vfpt's alpha is a share of the prompts, from 0 to 1: vfpt(alpha=0.5)")

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        prompts = [self.mixed(self.dropout(own, len(images))) for own in self.prompts]
        return self.vit.run(self.vit.embed(images), read, prompts)

    def mixed(self, prompts: Tensor) -> Tensor:
        """(..., prompt, dim) with the spectrum of the first prompts in their place."""
        own, others = prompts.tensor_split([self.transformed], dim=-2)
        if self.transformed == 0 or not self.axes:
            return prompts
        fft: Any = torch.fft
        return torch.cat([fft.fftn(own, dim=self.axes).real, others], dim=-2)
