"""CVPT: Huang et al., "CVPT: Cross Visual Prompt Tuning", ICCV 2025, arXiv 2408.14961.

With P_l (prompt, d) the prompts of block l, and W_q, W_k, W_v, W_o, biases included, the frozen
projections of its attention:

    cross   C(X) = W_o softmax(W_q X (W_k P~)^T / sqrt(d / heads)) W_v P~, head by head, with P~ =
            drop(P_l), and no norm on X and P~
    block   X = X + A(X),  X = X + C(X),  X = X + M(X);  A, M: attention and MLP behind their norms

The branch isn't zero at first: prompts of zeros would add W_o b_v + b_o. `insert` says where, as
released: 1 before A, 2 beside it, 3 between A and M, 4 into M, behind its norm, 5 behind M.

As released: P_l starts Xavier uniform as one tensor for all blocks, in (-v, v) with v = sqrt(6 / (d
(prompts + blocks))); dropout is 0.1; the branch's projections are copies that stay frozen.

Ours: stochastic depth on the frozen A and M is the protocol's (as released up to 0.1). Learning
rates are AdamW's on 256 images; as released, 0.0002 to 0.01 at batches of 16 to 64.

Equal to the released code (commit 2fc9877) but for stochastic depth, at all five places, with
dropout: logits to 1e-13, gradients to 1e-14.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from harness import ADAMW_RATES, ANY_LENGTH, PROMPT_DROPOUT, FrozenViT, Method, PromptDropout, Read

Place = Literal[1, 2, 3, 4, 5]


class CVPT(Method):
    """`prompts` of each block that its rows attend to apart, by its own frozen projections."""

    name = "cvpt"
    family = "prompts"
    version = "2"
    year = 2025
    summary = "CVPT: rows attend to prompts apart, by frozen cross-attention (arXiv 2408.14961)"
    note = (
        "cvpt's published numbers are the best test epochs, with learning rate, prompts, batch and"
        " seed chosen by task, and stochastic depth."
    )
    search_space = {
        "prompts": (1, 5, 10, 20, 50, 100, 200),
        "base_lr": ADAMW_RATES,
        "weight_decay": (0.05, 0.00001),
    }
    allows = {"prompts": ANY_LENGTH}
    optimizer = {"optimizer": "adamw"}

    def __init__(
        self, vit: FrozenViT, prompts: int = 10, insert: Place = 3, dropout: float = PROMPT_DROPOUT
    ):
        self.check(locals())
        super().__init__(vit)
        drawn = torch.empty(vit.depth, prompts, vit.dim)
        self.prompts = nn.Parameter(nn.init.xavier_uniform_(drawn))
        self.dropout, self.insert = PromptDropout(dropout), insert

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        vit, tokens, selected = self.vit, self.vit.embed(images), list[Tensor]()
        for index in range(read.blocks[-1] + 1):
            rows = vit.rows(index, read)
            prompts = self.dropout(self.prompts[index], len(images))
            k, v = vit.project(index, prompts.expand(len(images), -1, -1), "kv")
            if self.insert == 1:
                tokens = tokens + self.cross(index, tokens, k, v)
            attended = vit.attend(index, tokens, rows=rows)
            if self.insert == 2:
                attended = attended + self.cross(index, tokens[:, rows], k, v)
            if self.insert == 3:
                attended = attended + self.cross(index, attended, k, v)
            if self.insert == 4:
                block: Any = vit.vit.blocks[index]
                into = block.norm2(attended) + self.cross(index, attended, k, v)
                tokens = attended + block.drop_path2(block.ls2(block.mlp(into)))
            else:
                tokens = vit.feed(index, attended)
            if self.insert == 5:
                tokens = tokens + self.cross(index, tokens, k, v)
            selected += vit.select(index, tokens, read)
        return selected

    def cross(self, index: int, rows: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """C of rows (batch, row, dim), with the prompts' keys and values."""
        (q,) = self.vit.project(index, rows, "q")
        return self.vit.mix(index, q, k, v)
