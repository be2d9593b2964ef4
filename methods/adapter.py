"""AdaptFormer: a bottleneck beside every MLP. Chen et al., NeurIPS 2022, arXiv 2205.13535, section
3.2.

    paper      x~ = ReLU(LN(x') W_down) W_up,        x = MLP(LN(x')) + s x~ + x'
    released   x~ = drop(ReLU(x' W_down)) W_up,      the same sum

W_up starts at zero. `adapter` means the released form (ShoufaChen/AdaptFormer, commit 6967d67,
main_image.py), which tables show: there the bottleneck sees the residual stream without a norm, and
drops a tenth of its hidden values in training. The bottlenecks and learning rates that are searched
are ours, around the paper's 64.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

from jaxtyping import Float
from optuna.distributions import CategoricalDistribution
from torch import Tensor, nn

from harness import ADAMW_RATES, FrozenViT, Method

DROPOUT = 0.1
"""Of the released form's hidden values; fixed in its code."""


class NormAndStream(nn.Module):
    """A block's norm before the MLP, which hands on what it was given as well."""

    each_token = True

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.norm = norm

    def forward(self, stream: Float[Tensor, "batch token dim"]) -> tuple[Tensor, Tensor]:
        return self.norm(stream), stream


class AdaptMLP(nn.Module):
    """A frozen MLP with a trainable bottleneck in parallel: on the same normed tokens, or on the
    stream that comes with them."""

    each_token = True

    def __init__(self, mlp: nn.Module, dim: int, bottleneck: int, scale: float, dropout: float):
        super().__init__()
        self.mlp = mlp
        self.down = nn.Linear(dim, bottleneck)
        self.up = nn.Linear(bottleneck, dim)
        self.dropout = nn.Dropout(dropout)
        self.scale = scale
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, tokens: Tensor | tuple[Tensor, Tensor]) -> Float[Tensor, "batch token dim"]:
        normed, seen = tokens if isinstance(tokens, tuple) else (tokens, tokens)
        return self.mlp(normed) + self.scale * self.up(self.dropout(self.down(seen).relu()))


class Adapter(Method):
    """AdaptFormer with `bottleneck` values between down and up, added with weight `scale`; `form`
    "released" or "paper"."""

    name = "adapter"
    family = "peft"
    year = 2022
    version = "2"
    summary = "AdaptFormer as released: a parallel bottleneck beside every MLP (arXiv 2205.13535)"
    search_space = {"bottleneck": CategoricalDistribution((8, 16, 64)), "base_lr": ADAMW_RATES}
    optimizer = {"optimizer": "adamw"}

    def __init__(
        self,
        vit: FrozenViT,
        bottleneck: int = 64,
        scale: float = 0.1,
        form: Literal["released", "paper"] = "released",
    ):
        self.check(locals())
        super().__init__(vit)
        for block in self.vit.vit.blocks:
            if form == "released":
                block.norm2 = NormAndStream(block.norm2)  # type: ignore[assignment,arg-type]
            dropout = DROPOUT if form == "released" else 0.0
            block.mlp = AdaptMLP(block.mlp, vit.dim, bottleneck, scale, dropout)  # type: ignore[assignment,arg-type]

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        if arguments.get("form", "released") not in ("released", "paper"):
            raise ValueError("adapter's form is one of released, paper")
