"""FacT: one tensor of updates for all maps of a ViT, in factors. Jie and Deng, "FacT: Factor-Tuning
for Lightweight Adaptation on Vision Transformer", AAAI 2023, arXiv 2212.03145, section 3.

    y = W x + b + s V dropout(S U x)      U: r x d and V: d x r, shared by all maps; V starts at 0

    fact-tt (tensor train)   S is each map's own: r x r, for fc1 4r x r and for fc2 r x 4r, where U
                             and V act on each quarter
    fact-tk (Tucker)         S_t = sum_k P[k, t] C[:, :, k],   C: r x r x r, P: r x 12 L

As released (JieShibo/PETL-ViT, commit 026e4f1): dropout of 0.1 before V; in fact-tk the columns of
an MLP's four S_t are interleaved, and that is cut into quarters. Searched are the scales and ranks
of the released settings, a pair a task. Ours: one U x for q, k and v. Equal to the released code:
features to 1e-14, gradients to 1e-14 of the largest.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from harness import FrozenViT, Method

SCALES = (0.01, 0.1, 1.0, 10.0, 100.0)
RATE, DECAY = (0.004,), (0.0001,)
RELEASED = {"scale": SCALES, "base_lr": RATE, "weight_decay": DECAY}


class Beside(nn.Module):
    """A frozen map of `ins` times d values to `outs` times d, and s V S U beside it."""

    each_token = True

    def __init__(self, method: "FacT", linear: nn.Linear, scale: float, dropout: float):
        super().__init__()
        self.linear, self.scale, self.dropout = linear, scale, nn.Dropout(dropout)
        self.down, self.up = method.down, method.up
        self.rank, dim = self.down.shape
        self.ins, self.outs = linear.in_features // dim, linear.out_features // dim
        self.start(method)

    def start(self, method: Any) -> None:
        self.own = nn.Linear(self.ins * self.rank, self.outs * self.rank, bias=False).weight

    def core(self) -> Float[Tensor, "out in"]:
        return self.own

    def forward(self, tokens: Float[Tensor, "batch token in"]) -> Float[Tensor, "batch token out"]:
        parts = tokens.reshape(*tokens.shape[:-1], self.ins, -1)
        seen = F.linear(parts, self.down).flatten(-2)
        made = self.scale * self.dropout(F.linear(seen, self.core()))
        added = F.linear(made.unflatten(-1, (self.outs, self.rank)), self.up).flatten(-2)
        return self.linear(tokens) + added

    def merged(self) -> nn.Linear:
        core = self.core().view(self.outs, self.rank, self.ins, self.rank)
        added = torch.einsum("xi,biaj,jy->bxay", self.up, core, self.down)
        self.linear.weight += self.scale * added.reshape(self.linear.weight.shape)
        return self.linear


class InTucker(Beside):
    def start(self, method: Any) -> None:
        self.centre, self.mixing = method.centre, method.mixing
        self.columns = slice(method.taken, method.taken + self.ins * self.outs)
        self.apart = method.taken % method.columns == 0  # q, k, v
        method.taken = self.columns.stop

    def core(self) -> Float[Tensor, "out in"]:
        slices = self.centre @ self.mixing[:, self.columns]
        flat = (slices.mT if self.apart else slices).flatten(1)
        return flat if self.ins > 1 else flat.T


class FacT(Method):
    """Updates of all linear maps of all blocks, of rank `rank`, added with weight `scale`."""

    family = "peft"
    needs = ("column", "linear maps")
    year = 2022
    note = "FacT's published numbers are of the scale and the epoch that are best on test."
    optimizer = {"optimizer": "adamw"}
    beside: type[Beside] = Beside

    def __init__(self, vit: FrozenViT, rank: int = 16, scale: float = 1.0, dropout: float = 0.1):
        if rank < 1:
            raise ValueError(f"{self.name}'s rank is a number from 1 on, as in {self.name}(rank=8)")
        super().__init__(vit)
        mlp: Any = vit.vit.blocks[0].mlp
        times, rest = divmod(mlp.fc1.out_features, vit.dim)
        if rest:
            raise ValueError(f"{self.name} needs MLPs of a whole multiple of the width {vit.dim}")
        self.columns = 4 + 2 * times
        self.down = nn.Linear(vit.dim, rank, bias=False).weight
        self.up = nn.Parameter(torch.zeros(vit.dim, rank))
        self.share(rank)
        for part, name in self.maps():
            setattr(part, name, self.beside(self, getattr(part, name), scale, dropout))

    def share(self, rank: int) -> None: ...

    def maps(self) -> list[tuple[Any, str]]:
        names = (("attn", "qkv"), ("attn", "proj"), ("mlp", "fc1"), ("mlp", "fc2"))
        return [(getattr(b, part), name) for b in self.vit.vit.blocks for part, name in names]

    def merge(self) -> None:
        for part, name in self.maps():
            setattr(part, name, getattr(part, name).merged())


class FacTTT(FacT):
    name = "fact-tt"
    summary = "FacT-TT: a tensor train of updates for all maps (arXiv 2212.03145)"
    search_space = {"rank": (4, 8, 16), **RELEASED}


class FacTTK(FacT):
    name = "fact-tk"
    summary = "FacT-TK: a Tucker decomposition of updates for all maps (arXiv 2212.03145)"
    search_space = {"rank": (16, 32), **RELEASED}
    beside = InTucker

    def __init__(self, vit: FrozenViT, rank: int = 32, scale: float = 1.0, dropout: float = 0.1):
        super().__init__(vit, rank, scale, dropout)

    def share(self, rank: int) -> None:
        shapes = (rank, rank, rank), (rank, self.vit.depth * self.columns)
        starts = [nn.init.xavier_uniform_(torch.empty(shape)) for shape in shapes]
        self.centre, self.mixing, self.taken = *map(nn.Parameter, starts), 0
