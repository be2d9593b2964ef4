"""DTL: Fu, Zhu and Wu, "DTL: Disentangled Transfer Learning for Visual Recognition", AAAI 2024,
arXiv 2312.07856, section 3.

With x_i the tokens that enter block b_i of the frozen model, A_i (d, r), B_i (r, d), and M the
first block whose output is changed (half of the blocks):

    h_{i+1} = h_i + x_i A_i B_i,   h_0 = 0
    x_{i+1} = b_i(x_i)                            i < M
              b_i(x_i) + theta(h_{i+1})           i >= M,   theta(h) = h * sigmoid(beta h)

    DTL+:  theta's output at the image tokens goes through a 3 x 3 depthwise convolution, shared by
           all blocks, without bias; CLS as before

The path on the side is all that needs a gradient up to block M, since x_i is the frozen model's
there: nothing in blocks 0 to M is passed backward or kept for it.

As released (heekhero/DTL, commit bf6c51e): r = 2, beta = 100; A Kaiming uniform, B zero; features
are the mean of the image tokens, then the norm, where the pre-trained model reads CLS; AdamW with
weight decay 0.05, a learning rate by task, from 1e-4 to 1e-2 at batch 32, and drop-path 0, 0.1 or
0.2 by task. The convolution starts as torch's do.

Ours: where a backbone's own pooling isn't CLS, it stays.

Equal to the released code (commit bf6c51e), DTL and DTL+: logits to 1e-15, gradients to 1e-15, on a
small ViT in float64.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harness import FrozenViT, Method, Read


class DTL(Method):
    """A low-rank path beside the blocks, of `rank` values a block, added to their outputs from
    block `first` on; `plus`: DTL+."""

    name = "dtl"
    family = "peft"
    year = 2023
    summary = "DTL: a low-rank path on the side, added in the upper half (arXiv 2312.07856)"
    note = "dtl's published numbers have a learning rate and a drop-path chosen for each task."
    needs = ("column",)
    search_space = {"base_lr": (0.0008, 0.0024, 0.008, 0.024, 0.064), "weight_decay": (0.05,)}
    optimizer = {"optimizer": "adamw"}
    toggles = ("plus",)

    def __init__(
        self,
        vit: FrozenViT,
        rank: int = 2,
        beta: float = 100.0,
        plus: bool = False,
        first: int | None = None,
    ):
        super().__init__(vit)
        self.first = vit.depth // 2 if first is None else first
        if not 0 <= self.first < vit.depth:
            raise ValueError(f"dtl: first={first}, and the blocks are 0 to {vit.depth - 1}")
        self.down = nn.Parameter(torch.empty(vit.depth, rank, vit.dim))
        self.up = nn.Parameter(torch.zeros(vit.depth, vit.dim, rank))
        for down in self.down:
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))
        dim = vit.dim
        self.mix = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False) if plus else None
        self.beta = beta

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        vit, tokens, selected = self.vit, self.vit.embed(images), list[Tensor]()
        read = Read(read.blocks, "image")
        side = torch.zeros_like(tokens)
        for index in range(read.blocks[-1] + 1):
            side = side + (tokens @ self.down[index].T) @ self.up[index].T
            rows = vit.rows(index, read)
            tokens = vit.block(index, tokens, rows=rows)
            if index >= self.first:
                tokens = tokens + self.added(side)[:, rows]
            selected += vit.select(index, tokens, read)
        return selected

    def added(self, side: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        """Theta."""
        out = side * torch.sigmoid(self.beta * side)
        if self.mix is None:
            return out
        prefix, image = out[:, : self.vit.prefix], out[:, self.vit.prefix :]
        grid = torch.unflatten(image.mT, 2, self.vit.grid)
        return torch.cat([prefix, self.mix(grid).flatten(2).mT], dim=1)

    def pool(self, tokens: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch dim"]:
        own = self.vit.pooling not in ("cls", "cls+dist")
        return self.vit.pool(tokens if own else tokens.mean(1, keepdim=True))
