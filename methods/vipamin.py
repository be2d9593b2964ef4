"""VIPAMIN: Park and Chung, "Visual Prompt Initialization via Embedding Selection and Subspace
Expansion", NeurIPS 2025, arXiv 2510.16446.

VPT whose prompts start from one batch of training images. With X the batch's mean tokens before a
block, K(.) keys averaged over heads, V(y) = y W_V^T + b_V, O the batch's mean attention outputs
before the output projection, r and r' prompts as VPT draws them:

    matching         m_n = mean of the k image rows of X whose K is nearest to K(r_n) by cosine
    orthogonalizing  o_n = V^-1((I - Q Q^T) V(r'_n)),  Q an orthonormal basis of the rows of O
    prompts          P_n = (1 - lambda) m_n + lambda o_n

As released (iamjaekyun/vipamin, commit ebce4e4): matching sees a model with r at every block
(deep), orthogonalizing one without; the block's norm is in K and O, not in V; no prompt dropout;
AdamW's epsilon is 1e-6 (VPT's own AdamW, which adds it before the bias correction).

The way back from values: the released code multiplies y - b_V by pinv(W_V), where V's inverse takes
its transpose. By the inverse, the default here, o_n's values are orthogonal to O, which is what the
module is for; by the released product (`back="released"`), which published numbers come from, they
aren't. A backbone with no more dimensions than tokens has nothing outside O's span.

Ours: the run's seed draws batch and prompts, so that seeds start apart (released: from seed 0 all);
fewer than 256 images, or k beyond the image's tokens, means all.

Equal to that commit's scripts with `back="released"` in float64: prompts to 3e-15 of the largest.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Effort, FrozenViT, Method, Read, TrainSplit, new_prompts, run_prompts

BATCH = 256
linalg: Any = torch.linalg


class VIPAMIN(Method):
    """`prompts` tokens before the first block, or with `deep` at every block. `k` embeddings make a
    prompt's matched part; `lam`, lambda, is the share of the orthogonal one."""

    name = "vipamin"
    family = "prompts"
    year = 2025
    version = "2"
    summary = "VIPAMIN: VPT from matched embeddings and new directions (arXiv 2510.16446)"
    note = (
        "vipamin maps back from values by the inverse, as its paper's aim asks; the released code,"
        " and so published numbers, by another product: vipamin(back=released)."
    )
    search_space = {
        "k": (2, 8, 32, 128),
        "lam": (0.0, 0.5, 1.0),
        "base_lr": (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
        "weight_decay": (0.01,),
    }
    optimizer = {"optimizer": "adamw", "eps": 1e-6}

    def __init__(
        self,
        vit: FrozenViT,
        prompts: int = 100,
        deep: bool = False,
        k: int = 8,
        lam: float = 0.5,
        back: Literal["inverse", "released"] = "inverse",
    ):
        self.check(locals())
        super().__init__(vit)
        if k < 1 or not 0 <= lam <= 1:
            raise ValueError(
                "vipamin's k is a number of embeddings, and lam a share from 0 to 1: not"
                f" k={k}, lam={lam}"
            )
        self.prompts = new_prompts(vit, vit.depth if deep else 1, prompts)
        self.deep, self.k, self.lam, self.back = deep, k, lam, back

    def begin(self, train: TrainSplit, head: nn.Module) -> None:
        rows = torch.randperm(len(train), generator=train.generator)[:BATCH]
        parts = [self.sums(train.batch(part)[0]) for part in torch.split(rows, train.at_once)]
        for index, (prompts, sums) in enumerate(
            zip(self.prompts, zip(*parts, strict=True), strict=True)
        ):
            tokens, keys, outputs = (
                torch.stack(own).sum(0) / len(rows) for own in zip(*sums, strict=True)
            )
            (own,) = self.vit.project(index, self.block(index).norm1(prompts[None]), "k")
            cosine = F.normalize(own.mean(1)[0], dim=-1) @ F.normalize(keys, dim=-1).T
            matched = tokens[cosine.topk(min(self.k, len(keys))).indices].mean(1)
            prompts.copy_((1 - self.lam) * matched + self.lam * self.outside(index, outputs))

    def sums(self, images: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Over images, for each block with prompts: image tokens before it, their keys' mean over
        heads, and what attention makes of values where there are no prompts."""
        tokens, found = self.vit.embed(images), list[tuple[Tensor, Tensor, Tensor]]()
        bare = self.vit.embed(images) if self.deep else tokens
        for index, prompts in enumerate(self.prompts):
            block, image = self.block(index), tokens[:, self.vit.prefix :]
            (keys,) = self.vit.project(index, block.norm1(image), "k")
            q, k, v = self.vit.project(index, block.norm1(bare), "qkv")
            mixed = F.scaled_dot_product_attention(q, k, v, scale=block.attn.scale)
            outputs = mixed.transpose(1, 2).flatten(2)
            found.append((image.sum(0), keys.mean(1).sum(0), outputs.sum(0)))
            if index + 1 < len(self.prompts):
                tokens, bare = self.vit.block(index, tokens, prompts), self.vit.block(index, bare)
        return found

    def outside(self, index: int, outputs: Float[Tensor, "token dim"]) -> Tensor:
        """o_n, in float64 on the way, since W_V may be ill-conditioned: (prompt, dim)."""
        qkv, dim = self.block(index).attn.qkv, self.vit.dim
        weight, bias = qkv.weight[-dim:].double(), 0 if qkv.bias is None else qkv.bias[-dim:]
        values = new_prompts(self.vit, self.prompts.shape[1]).to(weight) @ weight.T + bias
        basis: Tensor = linalg.qr(outputs.double().T).Q
        way: Tensor = linalg.pinv(weight.T if self.back == "inverse" else weight)
        return ((values - values @ basis @ basis.T - bias) @ way).to(outputs)

    def block(self, index: int) -> Any:
        return self.vit.vit.blocks[index]

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        return run_prompts(self.vit, images, read, self.prompts, self.deep)

    @classmethod
    def effort(cls, arguments: Mapping[str, Any], images: int, batch_size: int) -> Effort:
        return Effort(forwards=min(BATCH, images) * (1 + bool(arguments.get("deep", False))))
