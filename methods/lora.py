"""LoRA: low-rank updates of attention's projections. Hu et al., ICLR 2022, arXiv 2106.09685,
section 4.

h = W_0 x + (alpha / r) B A x,   A: r x d, random; B: d x r, zero, so that training starts at the
backbone

A x and B A x are computed beside the frozen map, so that no gradient of W_0's size is; `merge` adds
B A to W_0. With `targets="qv"`, queries and values have an A and a B each, as in the paper; with
"qkv" all three share one A of r x d, and B is 3d x r: LoRA in the tables of NOAH (Zhang et al.,
arXiv 2206.04673; ZhangYuanhan-AI/NOAH, commit e9c55f3), with a dropout of 0.1 before A and a scale
of 1, `lora(targets=qkv,dropout=0.1)`. There A and B both start from N(0, 0.02^2), not at the
backbone.

The ranks and learning rates searched are ours: the paper tunes no ViT.

Equal to the released code (microsoft/LoRA, commit c4593f0; for "qkv" ZhangYuanhan-AI/NOAH and peft
0.21.2 too), with dropout: logits to 1e-14, gradients to 1e-14, merged weights' logits to 1e-14, on
a small ViT in float64.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harness import ADAMW_RATES, FrozenBackbone, Method


class BesideQKV(nn.Module):
    """A frozen projection to queries, keys and values, and beside it (alpha / rank) B A, from the
    same tokens."""

    each_token = True

    def __init__(self, qkv: nn.Linear, targets: str, rank: int, alpha: float, dropout: float):
        super().__init__()
        self.qkv = qkv
        self.scale = alpha / rank
        weight, maps = qkv.weight, 1 if targets == "qkv" else 2
        self.down = nn.Parameter(weight.new_empty(maps, rank, weight.shape[1]))
        outputs = weight.shape[0] if maps == 1 else weight.shape[0] // 3
        self.up = nn.Parameter(weight.new_zeros(maps, outputs, rank))
        self.dropout = nn.Dropout(dropout)
        for down in self.down:
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))

    def forward(self, tokens: Float[Tensor, "batch token dim"]) -> Tensor:
        dropped = self.dropout(tokens)
        added = [
            self.scale * nn.functional.linear(nn.functional.linear(dropped, down), up)
            for down, up in zip(self.down, self.up, strict=True)
        ]
        out = self.qkv(tokens)
        if len(added) == 1:
            return out + added[0]
        q, k, v = out.chunk(3, dim=-1)
        return torch.cat([q + added[0], k, v + added[1]], dim=-1)

    def merged(self) -> nn.Linear:
        """One map that does the same in eval mode."""
        added = self.scale * self.up @ self.down
        if len(added) == 2:
            added = torch.stack([added[0], torch.zeros_like(added[0]), added[1]])
        self.qkv.weight += added.flatten(0, 1)
        return self.qkv


class LoRA(Method):
    """Every block's projections, with updates of rank `rank` to `targets`: queries and values,
    "qv", or keys too, "qkv"."""

    name = "lora"
    family = "peft"
    year = 2021
    version = "2"
    summary = "LoRA on the query and value projections (arXiv 2106.09685)"
    note = "lora's rows in tables that follow NOAH's are lora(targets=qkv,dropout=0.1) here."
    needs = ("linear maps",)
    search_space = {"rank": (4, 8, 16), "base_lr": ADAMW_RATES}
    optimizer = {"optimizer": "adamw"}

    def __init__(
        self,
        vit: FrozenBackbone,
        rank: int = 8,
        alpha: float = 8.0,
        targets: Literal["qv", "qkv"] = "qv",
        dropout: float = 0.0,
    ):
        self.check(locals())
        super().__init__(vit)
        block: Any
        for block in self.vit.blocks:
            block.attn.qkv = BesideQKV(block.attn.qkv, targets, rank, alpha, dropout)

    def merge(self) -> None:
        block: Any
        for block in self.vit.blocks:
            block.attn.qkv = block.attn.qkv.merged()

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        super().check(arguments)
        if arguments.get("rank", 8) < 1:
            raise ValueError("lora's rank is a number from 1 on, such as lora(rank=8)")
