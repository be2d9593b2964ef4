"""Res-Tuning: Jiang et al., "Res-Tuning: A Flexible and Efficient Tuning Paradigm via Unbinding
Tuner from Backbone", NeurIPS 2023, arXiv 2310.19859, section 3.

Tuners stand beside the operations of the frozen model, none inside. With T(z) = U GELU(D z), a
bottleneck of h values:

    parallel   OP(z) + T(z) for attention, MLP (z behind their norms) and the whole block
    bypass     s_0 = x_0,   s_l = R_l(x_l) + R'_l(s_{l-1}),   R(z) = z + T(z)

where x_l is the output of block l of the frozen model, which no gradient goes through, and s_L is
what the head reads in place of x_L: only the rows of the head are needed.

As released (modelscope/ms-swift, commit 3602360, swift/tuners/restuning.py and
restuning_components.py), which has the bypass alone: D and U Xavier uniform, biases near zero. Its
h is 32, unless a configuration says another.

Ours: h = 10, and which tuners stand beside what in the parallel form is in no released code. Three
bottlenecks of 10 values a block without biases have the 0.55M values that the paper prints; U
starts at zero. The paper's tuners of prefixes and prompts, and a learned weight between R and R',
aren't here. The learning rates searched are ours.

Equal to the released code (commit 3602360), form=bypass: logits to 1e-14, gradients to 1e-14,
on a small ViT in float64.
"""

from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from harness import ADAMW_RATES, FrozenViT, Method, Read


class Tuner(nn.Module):
    """A bottleneck, without biases and from zero; or with both biases, not from zero."""

    def __init__(self, dim: int, bottleneck: int, from_zero: bool):
        super().__init__()
        self.down = nn.Linear(dim, bottleneck, bias=not from_zero)
        self.up = nn.Linear(bottleneck, dim, bias=not from_zero)
        self.act = nn.GELU()
        nn.init.xavier_uniform_(self.down.weight)
        if from_zero:
            nn.init.zeros_(self.up.weight)
        else:
            nn.init.xavier_uniform_(self.up.weight)
            nn.init.normal_(self.down.bias, std=1e-6)
            nn.init.normal_(self.up.bias, std=1e-6)

    def forward(self, rows: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch row dim"]:
        return self.up(self.act(self.down(rows)))


class ResTuning(Method):
    """Tuners of `bottleneck` values beside the blocks; `form` "parallel" or "bypass"."""

    name = "res-tuning"
    family = "peft"
    needs = ("column", "halves")
    year = 2023
    summary = "Res-Tuning: bottlenecks beside every operation, or as a bypass (arXiv 2310.19859)"
    note = "res-tuning's parallel form is our reading: the released code has the bypass alone."
    search_space = {"base_lr": ADAMW_RATES}
    optimizer = {"optimizer": "adamw"}

    def __init__(
        self, vit: FrozenViT, bottleneck: int = 10, form: Literal["parallel", "bypass"] = "parallel"
    ):
        self.check(locals())
        super().__init__(vit)
        beside = 3 if form == "parallel" else 2
        self.tuners = nn.ModuleList(
            nn.ModuleList(Tuner(vit.dim, bottleneck, form == "parallel") for _ in range(beside))
            for _ in range(vit.depth)
        )
        self.form = form

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        tokens = self.vit.embed(images)
        return self.bypass(tokens, read) if self.form == "bypass" else self.parallel(tokens, read)

    def parallel(self, tokens: Tensor, read: Read) -> list[Tensor]:
        vit, selected = self.vit, list[Tensor]()
        tuners: Any = self.tuners
        for index in range(read.blocks[-1] + 1):
            block: Any = vit.vit.blocks[index]
            attention, mlp, whole = tuners[index]
            rows = vit.rows(index, read)
            own = tokens[:, rows]
            mixed = vit.attend(index, tokens, rows=rows) + attention(block.norm1(own))
            tokens = vit.feed(index, mixed) + mlp(block.norm2(mixed)) + whole(own)
            selected += vit.select(index, tokens, read)
        return selected

    def bypass(self, tokens: Tensor, read: Read) -> list[Tensor]:
        stems = self.vit.run(tokens, Read(tuple(range(read.blocks[-1] + 1)), read.rows))
        side = tokens[:, self.vit.rows(0, Read((0,), read.rows))].contiguous()
        selected = list[Tensor]()
        for index, stem in enumerate(stems):
            tuners: Any = self.tuners[index]
            lateral, vertical = tuners
            stem = stem.contiguous()  # of these rows alone, for the backward pass to keep
            side = stem + lateral(stem) + side + vertical(side)
            selected += [side] if index in read.blocks else []
        return selected
