"""LoRA: low-rank updates of attention's projections. Hu et al., ICLR 2022, arXiv 2106.09685,
section 4.

h = W_0 x + (alpha / r) B A x,   A: r x d, random; B: d x r, zero, so that training starts at the
backbone

The ranks and learning rates searched are ours: the paper tunes no ViT.
"""

import math

import torch
from jaxtyping import Float
from optuna.distributions import CategoricalDistribution
from torch import Tensor, nn
from torch.nn.utils import parametrize

from harness import ADAMW_RATES, FrozenViT, Method


class LowRank(nn.Module):
    """W -> W with (alpha / rank) B A added to its query rows and its value rows."""

    def __init__(self, weight: Float[Tensor, "three_dim dim"], rank: int, alpha: float):
        super().__init__()
        dim = weight.shape[1]
        self.scale = alpha / rank
        self.down = nn.Parameter(weight.new_empty(2, rank, dim))
        self.up = nn.Parameter(weight.new_zeros(2, weight.shape[0] // 3, rank))
        for down in self.down:
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))

    def forward(self, weight: Float[Tensor, "three_dim dim"]) -> Float[Tensor, "three_dim dim"]:
        query, value = self.scale * self.up @ self.down
        return weight + torch.cat([query, torch.zeros_like(query), value])


class LoRA(Method):
    """Every block's query and value projections, each with an update of rank `rank`."""

    name = "lora"
    family = "peft"
    year = 2021
    summary = "LoRA on the query and value projections (arXiv 2106.09685)"
    search_space = {"rank": CategoricalDistribution((4, 8, 16)), "base_lr": ADAMW_RATES}
    optimizer = {"optimizer": "adamw"}

    def __init__(self, vit: FrozenViT, rank: int = 8, alpha: float = 8.0):
        super().__init__(vit)
        for block in self.vit.vit.blocks:
            qkv = block.attn.qkv  # type: ignore[union-attr]
            parametrize.register_parametrization(qkv, "weight", LowRank(qkv.weight, rank, alpha))  # type: ignore[arg-type]
