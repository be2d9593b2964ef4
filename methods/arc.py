"""ARC: Dong, Yan, Lin and Wang, "Efficient Adaptation of Large Vision Transformer via Adapter
Re-Composing", NeurIPS 2023, arXiv 2310.06234, section 3.

With x the rows behind the norm before attention (or before the MLP), U (d, r) shared by all blocks,
one for attention and one for MLPs, and c (r,), b (d,) of each place:

    x' = x + drop(x (U diag(c))) U^T + b

What follows is linear, so that trained adapters fold into it.

As released (DavidYanAnDe/ARC, commit 8227d57, Model/ARC_ViT.py): r = 50; U is Xavier uniform, b
zero, c zero for attention and Xavier uniform for MLPs, so that training doesn't start at the
backbone; AdamW at batch 32. Its script for VTAB-1k imports Model/ARC_new.py, whose tensors have
other names than those that it unfreezes: as released it trains the head alone. The model with the
names that fit is what is meant here.

Ours: gradients aren't clipped (its script: to norm 1). Learning rates and weight decays searched
span those of its runs; dropout is its script's 0.1, where the paper's runs have 0.1 to 0.8 by task.

Equal to the released code (commit 8227d57), with dropout, and for attention alone: logits to 1e-14,
gradients to 1e-14, on a small ViT in float64.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harness import FrozenViT, Method


class Recomposed(nn.Module):
    """A norm, and behind it an adapter of shared maps, with a scale of each hidden value."""

    each_token = True

    def __init__(self, norm: nn.Module, shared: nn.Parameter, scale: Tensor, dropout: float):
        super().__init__()
        self.norm = norm
        self.shared = shared
        self.scale = nn.Parameter(scale)
        self.bias = nn.Parameter(torch.zeros_like(shared[:, 0]))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        normed = self.norm(tokens)
        hidden = self.dropout((normed @ self.shared) * self.scale)
        return normed + hidden @ self.shared.T + self.bias


class ARC(Method):
    """Adapters behind the norms of every block, made of two shared maps of `bottleneck` columns;
    without `mlp`, before attention only."""

    name = "arc"
    family = "peft"
    year = 2023
    summary = "ARC: adapters behind the norms, re-composed of shared maps (arXiv 2310.06234)"
    note = "arc's published numbers are of the best test epoch, with dropout chosen for each task."
    search_space = {"base_lr": (0.008, 0.024, 0.08), "weight_decay": (0.0, 0.01, 0.05)}
    optimizer = {"optimizer": "adamw"}
    toggles = ("mlp",)

    def __init__(
        self, vit: FrozenViT, bottleneck: int = 50, mlp: bool = True, dropout: float = 0.1
    ):
        super().__init__(vit)
        self.attention = nn.Parameter(nn.init.xavier_uniform_(torch.empty(vit.dim, bottleneck)))
        if mlp:
            self.mlp = nn.Parameter(nn.init.xavier_uniform_(torch.empty(vit.dim, bottleneck)))
        block: Any
        for block in self.vit.vit.blocks:
            block.norm1 = Recomposed(block.norm1, self.attention, torch.zeros(bottleneck), dropout)
            if mlp:
                scale = nn.init.xavier_uniform_(torch.empty(1, bottleneck))[0]
                block.norm2 = Recomposed(block.norm2, self.mlp, scale, dropout)

    def merge(self) -> None:
        block: Any
        for block in self.vit.vit.blocks:
            for place, linear in (("norm1", block.attn.qkv), ("norm2", block.mlp.fc1)):
                own = getattr(block, place)
                if isinstance(own, Recomposed):
                    if linear.bias is None:
                        raise ValueError("arc can't be merged into a projection without bias")
                    linear.bias += linear.weight @ own.bias
                    linear.weight += ((linear.weight @ own.shared) * own.scale) @ own.shared.T
                    setattr(block, place, own.norm)
