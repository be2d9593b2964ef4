"""NOAH: Zhang, Zhou and Liu, "Neural Prompt Search", TPAMI 2024, arXiv 2206.04673, section 3.

Prompts, LoRA and adapters in every block; how many of each, an evolutionary search chose for each
task of VTAB-1k, among 1, 5 and 10 (or none). Here what it found is trained, without the search.
With p, r and h the numbers of a block, x the tokens before it, P (p, d) its prompts, A (r, d), B
(3d, r), D (h, d), U (d, h) its matrices and Q(z) = z sigmoid(1.702 z):

    [q, k, v] = W [x, drop(P)] + B A drop([x, drop(P)])     behind the norm; P's outputs are dropped
    m = MLP(LN(x')),   x'' = x' + m + U drop(Q(D m + b)) + c

As released (ZhangYuanhan-AI/NOAH, commit e9c55f3): all three dropouts are 0.1; A, B, D and U start
from N(0, 0.02^2), since the model draws all its linear maps anew after it is built, b and c at 0,
and P as the first of 100 prompts that are Xavier uniform: training doesn't start at the backbone.
Retrained from the pre-trained model by AdamW with learning rate 1e-3 and weight decay 1e-4 at batch
64, none on 1-d tensors. The prompts that it puts before the first block never act (the block's own
replace them) and aren't here. With their position embeddings, of length 100, the released count is
0.44M in the mean of the 19 tasks; what acts is 0.36M.

Ours: a method isn't told its task, so `subnet` names it: noah(subnet=dtd), or for each task its own
in a file of `--hparams`. The default is the first task's. In a backbone of another depth than 12 a
block has the numbers of the one at its relative height. Where a protocol has drop-path, it drops m
and the adapter's part together; the release drops m alone.

Equal to the released code (commit e9c55f3), for three tasks: logits to 1e-14, gradients to 1e-14,
on a small ViT in float64.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harness import FrozenViT, Method, PromptDropout, Read
from methods.noah_subnets import SUBNETS

SUPERNET = 100
"""Prompts of a block in the network that was searched; a subnet has the first of them."""


class LowRank(nn.Module):
    """A projection to queries, keys and values, and beside it a map of low rank to all of them."""

    each_token = True

    def __init__(self, qkv: nn.Linear, rank: int, dropout: float):
        super().__init__()
        self.qkv = qkv
        self.down = nn.Linear(qkv.in_features, rank, bias=False)
        self.up = nn.Linear(rank, qkv.out_features, bias=False)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.down, self.up):
            nn.init.normal_(linear.weight, std=0.02)

    def forward(self, rows: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch row three_dim"]:
        return self.qkv(rows) + self.up(self.down(self.dropout(rows)))


class Adapted(nn.Module):
    """An MLP, and behind it a bottleneck with its own residual."""

    each_token = True

    def __init__(self, mlp: nn.Module, dim: int, bottleneck: int, dropout: float):
        super().__init__()
        self.mlp = mlp
        self.down = nn.Linear(dim, bottleneck)
        self.up = nn.Linear(bottleneck, dim)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.down, self.up):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, rows: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch row dim"]:
        out = self.mlp(rows)
        hidden = self.down(out)
        return out + self.up(self.dropout(hidden * torch.sigmoid(1.702 * hidden)))


class NOAH(Method):
    """The subnet that was found for the task `subnet`: prompts, LoRA and adapters in each block."""

    name = "noah"
    family = "peft"
    needs = ("column", "prompts", "linear maps")
    year = 2022
    version = "2"
    summary = "NOAH: prompts, LoRA and adapters, as searched for a task (arXiv 2206.04673)"
    note = (
        "noah's published numbers are of the best test epoch, each task with its own subnet: write"
        " noah(subnet=TASK)."
    )
    search_space = {"base_lr": (0.004,), "weight_decay": (0.0001,)}
    optimizer = {"optimizer": "adamw", "no_decay": "vectors"}

    def __init__(self, vit: FrozenViT, subnet: str = "cifar100", dropout: float = 0.1):
        self.check(locals())
        super().__init__(vit)
        numbers = [[int(one) for one in part.split()] for part in SUBNETS[subnet]]
        self.dropout = PromptDropout(dropout)
        self.prompts = nn.ParameterList()
        block: Any
        for index, block in enumerate(self.vit.vit.blocks):
            at = index * 12 // vit.depth
            prompts, rank, bottleneck = (part[at] for part in numbers)
            drawn = nn.init.xavier_uniform_(torch.empty(1, SUPERNET, vit.dim))
            self.prompts.append(drawn[0, :prompts].clone())
            block.attn.qkv = LowRank(block.attn.qkv, rank, dropout)
            block.mlp = Adapted(block.mlp, vit.dim, bottleneck, dropout)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        if arguments.get("subnet", "cifar100") not in SUBNETS:
            raise ValueError(f"noah's subnet is one of {', '.join(SUBNETS)}")

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        vit, tokens, selected = self.vit, self.vit.embed(images), list[Tensor]()
        for index, own in zip(range(read.blocks[-1] + 1), self.prompts, strict=False):
            prompts = self.dropout(own, len(images))
            tokens, prompts = vit.place(index, tokens, prompts, read)
            tokens = vit.block(index, tokens, prompts, vit.rows(index, read))
            selected += vit.select(index, tokens, read)
        return selected
