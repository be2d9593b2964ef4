"""SA2VP, prompts aligned with the image's patches: Pei et al., AAAI 2024, arXiv 2312.10376.

Two streams pass through the same frozen blocks L_l: the image's tokens h, and p, a prompt for each
of them, which starts from a map A_0 (1 + n, c) and the position embedding, up_j from c to d:

    p = up_0(A_0) + positions
    X_l(q, kv) = adapter_l(q + attention_l(q, kv))       adapter: norm, bottleneck of c with GELU
    l = 0, 4, 8    p <- L_l(p) + w_j * L_l(up_j(A_j)) + s X_l(p, h),   h <- L_l(h)     j = l / 4,
                   and no second term in block 0
    others         h <- L_l(h) + s X_l(h, p),   p <- L_l(p)
    loss           0.8 CE(head(h)) + 0.2 CE(head(p)); predictions use h

attention_l has block l's frozen norm, heads and projections; CLS attends to all rows of the other
stream, a patch to the 3 x 3 patches around it. So the released scripts run it (`vit_tinypara`); its
"accelerated" twin has one head and pads the border with zero keys, which the softmax counts.

Ours: every fourth block at any depth; registers attend as CLS; layer scale scales attention_l too;
dropout is on p, behind attention_l and in the bottleneck alone; in segmentation p has no loss.

Equal to the released code (tommy-xq/SA2VP, commit 35674e7), dropout off: logits of both streams to
2e-15, gradients to 2e-16.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from harness import FrozenViT, Method, Read

EVERY = 4
"""Every so many blocks the image writes into the prompts."""


def linear(inputs: int, outputs: int) -> nn.Linear:
    made = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(made.weight)
    nn.init.normal_(made.bias, std=1e-6)
    return made


class SA2VP(Method):
    """Prompts made of `width` values a place; streams write into one another with `strength`."""

    name = "sa2vp"
    family = "prompts"
    version = "2"
    year = 2024
    summary = "SA2VP: a second stream of prompts, patch by patch (arXiv 2312.10376)"
    note = "sa2vp's published numbers have width and strength set by hand, task by task."
    search_space = {
        "width": (8, 16, 32),
        "strength": (0.1, 0.5, 1.5),
        "base_lr": (0.002, 0.004),
        "weight_decay": (1e-4,),
    }
    optimizer = {"optimizer": "adamw", "no_decay": "vectors"}

    def __init__(self, vit: FrozenViT, width: int = 8, strength: float = 0.1, dropout: float = 0.1):
        super().__init__(vit)
        self.strength = strength
        rows, fresh = vit.prefix + vit.image_tokens, (vit.depth - 1) // EVERY
        self.maps = nn.Parameter(torch.empty(1 + fresh, rows, width))
        nn.init.trunc_normal_(self.maps, std=0.02)
        self.up = nn.ModuleList(linear(width, vit.dim) for _ in range(1 + fresh))
        self.weights = nn.ParameterList(0.02 * torch.randn(1, vit.dim) for _ in range(fresh))
        self.dropout = nn.Dropout(dropout)
        self.adapters = nn.ModuleList()
        for _ in range(vit.depth):
            down, up = linear(vit.dim, width), linear(width, vit.dim)
            norm, inner = nn.LayerNorm(vit.dim, eps=1e-6), nn.Dropout(dropout)
            self.adapters.append(nn.Sequential(norm, down, nn.GELU(), inner, up, inner))
        self._streams: tuple[Tensor, Tensor] | None = None

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        vit, seen = self.vit, self.seen(images.device)
        image, prompts = vit.embed(images), self.start().expand(len(images), -1, -1)
        prompts, selected = self.dropout(prompts), list[Tensor]()
        for index in range(read.blocks[-1] + 1):
            block: Any = vit.vit.blocks[index]
            rows, back = vit.rows(index, read), index % EVERY == 0
            streams = (prompts, image) if back else (image, prompts)  # the one that asks first
            projected = [vit.project(index, block.norm1(one), "qkv") for one in streams]
            (q, _, _), (_, k, v) = projected
            cross = self.cross(block, q[:, :, rows], k, v, seen[rows])
            added = self.adapters[index](streams[0][:, rows] + self.dropout(cross))
            halves = [
                one[:, rows] + block.drop_path1(block.ls1(vit.mix(index, q[:, :, rows], k, v)))
                for one, (q, k, v) in zip(streams, projected, strict=True)
            ]
            outs = [vit.feed(index, half) for half in halves]
            outs[0] = outs[0] + self.strength * added
            prompts, image = outs if back else outs[::-1]
            if j := index // EVERY if back else 0:
                fresh = vit.block(index, self.up[j](self.maps[j : j + 1]), rows=rows)
                prompts = prompts + self.weights[j - 1] * fresh
            selected += vit.select(index, image, read)
        self._streams = (image, prompts) if self.training else None
        return selected

    def start(self) -> Float[Tensor, "1 row dim"]:
        """The prompts that enter the first block, as an image's tokens do."""
        vit: Any = self.vit.vit
        prompts, positions = self.up[0](self.maps[:1]), vit.pos_embed
        missing = prompts.shape[1] - positions.shape[1]  # some ViTs have none for CLS and registers
        return vit.norm_pre(prompts + F.pad(positions, (0, 0, missing, 0)))

    def seen(self, device: torch.device) -> Bool[Tensor, "row key"]:
        """Which rows of the other stream a row attends to."""
        down, across = (torch.arange(side, device=device) for side in self.vit.grid)
        places, before = torch.cartesian_prod(down, across), self.vit.prefix
        near = (places[:, None] - places).abs().amax(2) <= 1
        return F.pad(F.pad(near, (before, 0)), (0, 0, before, 0), value=True)

    def cross(self, block: Any, q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
        """A block's attention, of these queries to the other stream."""
        mixed = F.scaled_dot_product_attention(q, k, v, seen, scale=block.attn.scale)
        return block.ls1(block.attn.proj(block.attn.norm(mixed.transpose(1, 2).flatten(2))))

    def penalty(self, labels: Tensor, head: nn.Module) -> Float[Tensor, ""] | None:
        """What makes 0.8 CE(head(h)) + 0.2 CE(head(p)) of the loss CE(head(h))."""
        streams, self._streams = self._streams, None
        if streams is None or labels.ndim > 1:
            return None
        first, second = (F.cross_entropy(head([stream]), labels) for stream in streams)
        self.log("loss_of_prompts", second)
        return 0.2 * (second - first)
