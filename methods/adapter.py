"""AdaptFormer: a bottleneck beside every MLP. Chen et al., NeurIPS 2022, arXiv 2205.13535, section 3.2.

x~ = ReLU(LN(x') W_down) W_up,   x = MLP(LN(x')) + s x~ + x';   W_up starts at zero

The bottlenecks and learning rates searched are ours, around the paper's 64.
"""

import math

from jaxtyping import Float
from optuna.distributions import CategoricalDistribution
from torch import Tensor, nn

from methods.base import ADAMW_RATES, Method
from methods.vit import FrozenViT


class AdaptMLP(nn.Module):
    """A frozen MLP with a trainable bottleneck in parallel; both see the block's normed tokens."""

    each_token = True

    def __init__(self, mlp: nn.Module, dim: int, bottleneck: int, scale: float):
        super().__init__()
        self.mlp = mlp
        self.down = nn.Linear(dim, bottleneck)
        self.up = nn.Linear(bottleneck, dim)
        self.scale = scale
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, normed: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        return self.mlp(normed) + self.scale * self.up(self.down(normed).relu())


class Adapter(Method):
    """AdaptFormer with `bottleneck` values between down and up, added with weight `scale`."""

    name = "adapter"
    summary = "AdaptFormer: a parallel bottleneck beside every MLP (arXiv 2205.13535)"
    search_space = {"bottleneck": CategoricalDistribution((8, 16, 64)), "base_lr": ADAMW_RATES}
    optimizer = {"optimizer": "adamw"}

    def __init__(self, vit: FrozenViT, bottleneck: int = 64, scale: float = 0.1):
        super().__init__(vit)
        for block in self.vit.vit.blocks:
            block.mlp = AdaptMLP(block.mlp, vit.dim, bottleneck, scale)  # type: ignore[assignment,arg-type]
