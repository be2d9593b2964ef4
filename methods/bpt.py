"""BPT, Bilinear Prompt Tuning: Wang, Duan and Kong, "Attention to the Burstiness in Visual Prompt
Tuning!", ICCV 2025, arXiv 2506.22908.

The N prompts of a block are a product, and then used as in VPT-Shallow, or with `deep` as in
VPT-Deep, without dropout:

    bpt           P = A B,   A: N x c from N(0, 0.02^2),  B: c x d, Xavier uniform: rank c at most
    bpt-whitened  P = A W,   A: N x d alike,  W = Sigma^(-1/2) frozen (the paper's fixed whitening)
                  Sigma = E[z z^T],   z = W_q W_k^T x,   x the image tokens before the block

so that the logits A W z of prompts are white. Where c (N + d) >= N d, B saves nothing: so it is
with the released deep setting, N = c = 50.

As released: AdamW, weight decay of the head apart, no dropout, and MAE's features are norm(mean of
image and prompt rows) with the checkpoint's norm; most of our methods follow VPT's code, whose norm
there has no weights. Its rates are for batch 32 and not scaled: at batch 64 ours are the same.
Not as released: N is any number, there a square. With `deep` all blocks' B are trained, from random
values; the scripts for MAE and MoCo v3 train those of the last four blocks, and all begin whitened.
The whitening is the paper's, as far as its abstract and the release's README say it: its text was
not at hand. The released one takes c entries of each row of W for B's columns, drawn row by row,
which mixes up the columns of W; it tunes them; and its Sigma is of the mean over images, whose rank
is less than d, so that W inverts rounding errors. Here Sigma is over all image tokens of the train
split, in the frozen backbone without prompts; x is what the block takes before its norm; W_q and
W_k are all heads' together; and eigenvalues under a millionth of the largest count as that.

Equal to the released code (commit 9fc3c78): `bpt`, shallow and deep, CLS and MAE, logits and
gradients to 1e-14, on a small ViT in float64.
"""

from typing import Any

import torch
from jaxtyping import Float
from optuna.distributions import IntDistribution
from torch import Tensor, nn

from harness import ANY_LENGTH, FrozenViT, Method, Read, TrainSplit, run_prompts

SEARCHED = {
    "prompts": (50, 100),
    "base_lr": (0.02, 0.04, 0.2, 0.4),
    "weight_decay": (0.001, 0.005, 0.01, 0.1),
    "head_weight_decay": (0.1, 1.0, 10.0),
}
FLOOR = 1e-6
"""Of Sigma's eigenvalues, in the largest."""


class BPT(Method):
    """Prompts that are a product of two trained factors, of rank `rank` at most."""

    name = "bpt"
    family = "prompts"
    year = 2025
    summary = "BPT: prompts as a product of two small matrices (arXiv 2506.22908)"
    note = (
        "BPT's published numbers, of FGVC alone, are of the best test epoch, with random crops and"
        " learning rate and weight decays chosen for each task."
    )
    needs = ("column", "prompts")
    search_space = {**SEARCHED, "rank": (25, 50, 75)}
    allows = {"prompts": ANY_LENGTH, "rank": IntDistribution(1, 10_000)}
    optimizer = {"optimizer": "adamw"}
    b: Tensor

    def __init__(self, vit: FrozenViT, prompts: int = 100, rank: int = 75, deep: bool = False):
        super().__init__(vit)
        if rank < 1:
            raise ValueError("bpt's rank is at least 1: write bpt(rank=75)")
        self.deep, blocks = deep, vit.depth if deep else 1
        self.a = nn.Parameter(0.02 * torch.randn(blocks, prompts, rank))
        bound = (6 / (rank + vit.dim)) ** 0.5
        self.b = nn.Parameter(torch.empty(blocks, rank, vit.dim).uniform_(-bound, bound))

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        with torch.autocast(images.device.type, enabled=False):
            prompts = self.a @ self.b
        return run_prompts(self.vit, images, read, prompts, self.deep)

    def pool(self, tokens: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch dim"]:
        return self.vit.pool_with_own_norm(tokens)


class WhitenedBPT(BPT):
    """Prompts of full rank, multiplied by the frozen whitening matrix of what they are asked."""

    name = "bpt-whitened"
    summary = "BPT: prompts multiplied by a frozen whitening matrix (arXiv 2506.22908)"
    needs = ("plain blocks",)
    search_space = SEARCHED
    allows = {"prompts": ANY_LENGTH}

    def __init__(self, vit: FrozenViT, prompts: int = 100, deep: bool = False):
        super().__init__(vit, prompts, vit.dim, deep)
        eye = torch.eye(vit.dim).repeat(len(self.a), 1, 1)
        del self.b
        self.register_buffer("b", eye)

    def begin(self, train: TrainSplit, head: nn.Module) -> None:
        vit, moments = self.vit, torch.zeros(self.b.shape, dtype=torch.float64)
        for images, _ in train.batches():
            tokens = vit.embed(images)
            for index, moment in enumerate(moments):
                if index:
                    tokens = vit.block(index - 1, tokens)
                rows = tokens[:, vit.prefix : vit.prefix + vit.image_tokens].flatten(0, 1)
                moment += (rows.T @ rows).cpu() / (len(train) * vit.image_tokens)
        for own, moment, block in zip(self.b, moments, vit.vit.blocks, strict=False):
            attn: Any = block.attn
            weight: Tensor = attn.qkv.weight
            q, k, _ = torch.chunk(weight.cpu().double(), 3)
            linalg: Any = torch.linalg
            values, vectors = linalg.eigh(q.T @ k @ moment @ k.T @ q)
            roots = values.clamp(min=FLOOR * values[-1]).rsqrt()
            own.copy_(vectors * roots @ vectors.T)
