"""TCPA, prompts of their own for CLS and for each patch: Liu et al., "Token Coordinated Prompt
Attention is Needed for Visual Prompting", ICML 2025, arXiv 2505.02406.

In each block, with pools of m prompts P and as many keys K for CLS and for the patches, x the rows
that enter the block and F the real part of a 2-d Fourier transform of both pools together:

    near     s(x, K) = cos(x, K): CLS keeps the k nearest of its pool, a patch those of the other
    prompts  F(drop(P)), keys and values for all rows
    mask     softmax over all rows and prompts, then 0 at the prompts that a row doesn't keep; the
             rest isn't normalised anew
    loss     CE + w sum over blocks of (mean(1 - s) over what CLS keeps + the same over patches)

As released (`VFPT_TCPA`, whose prompts are VFPT's), the kept prompts are drawn at random in the
first 10 of 100 epochs of training, ours in the first tenth of them. Its convolutional prompt of the
image, for CUB alone, is left out. Registers keep prompts as CLS does.

Equal to the released code (zhoujiahuan1991/ICML2025-TCPA, commit dce8b3a), dropout and mixup off:
logits to 3e-15, gradients to 6e-17, with prompts chosen and drawn.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from harness import PROMPT_DROPOUT, FrozenViT, Method, PromptDropout, Read


class TCPA(Method):
    """Two pools of `pool` prompts a block, of which CLS and each patch keep `kept` of their own."""

    name = "tcpa"
    family = "prompts"
    version = "2"
    year = 2025
    summary = "TCPA: CLS and each patch choose among prompts of their own (arXiv 2505.02406)"
    note = (
        "tcpa's published numbers are the best test epoch's, with mixup, each task tuned by hand."
    )
    needs = ("plain blocks", "cls")
    search_space = {"base_lr": (0.002, 0.004, 0.01, 0.02), "weight_decay": (0.1, 0.5)}
    optimizer = {"optimizer": "adamw"}
    refuses = {
        "segmentation": "it draws prompts at random in its first epochs, and there are iterations"
    }

    def __init__(
        self,
        vit: FrozenViT,
        pool: int = 18,
        kept: int = 10,
        weight: float = 0.01,
        dropout: float = PROMPT_DROPOUT,
    ):
        if not 1 <= kept <= pool:
            raise ValueError(f"tcpa keeps {kept} of a pool of {pool}: write kept from 1 to {pool}")
        super().__init__(vit)
        self.pool_size, self.kept, self.weight = pool, kept, weight
        self.prompts, self.keys = (
            nn.Parameter(torch.empty(vit.depth, 2 * pool, vit.dim).uniform_(-1, 1))
            for _ in range(2)
        )
        self.dropout = PromptDropout(dropout)
        self.at_random = False
        self._distance: Tensor | None = None

    def epoch(self, number: int, epochs: int) -> None:
        self.at_random = number < epochs // 10

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        vit, tokens, selected = self.vit, self.vit.embed(images), list[Tensor]()
        distance, fft = tokens.new_zeros(()), cast(Any, torch.fft)
        for index in range(read.blocks[-1] + 1):
            block: Any = vit.vit.blocks[index]
            rows, (kept, away) = vit.rows(index, read), self.chosen(index, tokens)
            distance = distance + away
            prompts = fft.fft2(self.dropout(self.prompts[index], len(images))).real
            prompts = block.norm1(prompts if prompts.ndim == 3 else prompts[None])
            prompt_k, prompt_v = (
                part.expand(len(images), -1, -1, -1) for part in vit.project(index, prompts, "kv")
            )
            q, k, v = vit.project(index, block.norm1(tokens), "qkv")
            # a prompt that isn't kept counts in the softmax, and what it says is zero
            k = torch.cat([k, prompt_k, prompt_k], dim=2)
            v = torch.cat([v, prompt_v, torch.zeros_like(prompt_v)], dim=2)
            seen = torch.cat([F.pad(kept, (tokens.shape[1], 0), value=True), ~kept], dim=2)
            mixed = F.scaled_dot_product_attention(
                q[:, :, rows], k, v, attn_mask=seen[:, None, rows], scale=block.attn.scale
            )
            out = block.attn.proj(block.attn.norm(mixed.transpose(1, 2).flatten(2)))
            tokens = vit.feed(index, tokens[:, rows] + block.drop_path1(block.ls1(out)))
            selected += vit.select(index, tokens, read)
        self._distance = distance if self.training else None
        return selected

    def chosen(
        self, index: int, tokens: Float[Tensor, "batch row dim"]
    ) -> tuple[Bool[Tensor, "batch row prompt"], Float[Tensor, ""]]:
        """Which prompts of block `index` each row keeps, and how far their keys are from it."""
        kept = tokens.new_zeros(*tokens.shape[:2], 2 * self.pool_size, dtype=torch.bool)
        distance, first = tokens.new_zeros(()), self.vit.prefix
        for rows, pool in (
            (slice(0, first), slice(0, self.pool_size)),
            (slice(first, None), slice(self.pool_size, None)),
        ):
            keys = F.normalize(self.keys[index, pool], dim=-1)
            near = F.normalize(tokens[:, rows], dim=-1) @ keys.T
            order = torch.rand_like(near) if self.training and self.at_random else near
            best = order.topk(self.kept, dim=2).indices
            distance = distance + (1 - near.gather(2, best)).mean()
            kept[:, rows, pool].scatter_(2, best, True)
        return kept, distance

    def penalty(self, labels: Tensor, head: nn.Module) -> Float[Tensor, ""] | None:
        distance, self._distance = self._distance, None
        if distance is None:
            return None
        self.log("distance", distance)
        return self.weight * distance
