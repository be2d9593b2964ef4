"""RepAdapter: linear adapters in front of attention and MLP, which fold into the next map. Luo et
al., "Towards Efficient Visual Adaption via Structural Re-parameterization", arXiv 2302.08106,
section 3.

    f(x) = x + s (B dropout(A x + a) + b),     A: h x d; B: d x h in two groups, zero at the start
    x' = x + Attn(f(LN(x))),   x'' = x' + MLP(f(LN(x')))

Nothing in f bends, so W f(x) + c is one map: W' = W (I + s B A) and c' = c + s W (B a + b), which
`merge` writes.

As released (luogen1996/RepAdapter, commit 360992f): dropout of 0.1 between the maps, biases in
both; `form="attn"` leaves the MLPs' out (repattn there). Searched are the scales s of the released
settings, one a task; they were chosen there on test, as was the epoch.

Equal to the released code: features to 2e-14, gradients to 1e-14 of the largest, merged weights to
1e-15.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harness import FrozenViT, Method


class Adapted(nn.Module):
    """A block's norm, and x + s (B A x + b) behind it."""

    each_token = True

    def __init__(
        self, norm: nn.Module, dim: int, hidden: int, groups: int, scale: float, dropout: float
    ):
        super().__init__()
        self.norm, self.scale = norm, scale
        self.down = nn.Linear(dim, hidden)
        self.up = nn.Parameter(torch.zeros(groups, dim // groups, hidden // groups))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, tokens: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        normed = self.norm(tokens)
        hidden = self.dropout(self.down(normed)).chunk(len(self.up), dim=-1)
        groups = zip(hidden, self.up, strict=True)
        made = torch.cat([nn.functional.linear(part, up) for part, up in groups], dim=-1)
        return normed + self.scale * (made + self.bias)

    def merged_into(self, following: Any) -> nn.Module:
        """The norm alone, once the map behind it does the rest."""
        count = len(self.up)
        weights, biases = self.down.weight.chunk(count), self.down.bias.chunk(count)
        matrix = torch.cat([up @ weight for up, weight in zip(self.up, weights, strict=True)])
        shift = torch.cat([up @ bias for up, bias in zip(self.up, biases, strict=True)]) + self.bias
        if following.bias is None:
            following.bias = nn.Parameter(torch.zeros_like(following.weight[:, 0]), False)
        following.bias += self.scale * following.weight @ shift
        following.weight += self.scale * following.weight @ matrix
        return self.norm


class RepAdapter(Method):
    """Adapters of `hidden` values behind the norms of every block: both, or attention's alone."""

    name = "repadapter"
    family = "peft"
    year = 2023
    summary = "RepAdapter: linear adapters that fold into the next map (arXiv 2302.08106)"
    note = "repadapter's published numbers are of the scale and the epoch that are best on test."
    search_space = {
        "scale": (0.1, 0.5, 1.0, 5.0, 10.0),
        "base_lr": (0.004,),  # 1e-3 at batch 64
        "weight_decay": (0.0001,),
    }
    optimizer = {"optimizer": "adamw"}

    def __init__(
        self,
        vit: FrozenViT,
        hidden: int = 8,
        scale: float = 1.0,
        groups: int = 2,
        dropout: float = 0.1,
        form: Literal["block", "attn"] = "block",
    ):
        self.check(locals())
        super().__init__(vit)
        if hidden % groups or vit.dim % groups:
            raise ValueError(
                f"repadapter: hidden={hidden} and the width {vit.dim} must be multiples of"
                f" groups={groups}"
            )
        block: Any
        for block in self.vit.vit.blocks:
            block.norm1 = Adapted(block.norm1, vit.dim, hidden, groups, scale, dropout)
            if form == "block":
                block.norm2 = Adapted(block.norm2, vit.dim, hidden, groups, scale, dropout)

    def merge(self) -> None:
        block: Any
        for block in self.vit.vit.blocks:
            block.norm1 = block.norm1.merged_into(block.attn.qkv)
            if isinstance(block.norm2, Adapted):
                block.norm2 = block.norm2.merged_into(block.mlp.fc1)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        super().check(arguments)
        if min(arguments.get("hidden", 8), arguments.get("groups", 2)) < 1:
            raise ValueError("repadapter's hidden and groups are numbers from 1 on")
