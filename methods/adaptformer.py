"""Adapters beside the MLP. With x' the stream behind attention, W_down of h x d, W_up of d x h:

    A(x) = s (W_up act(W_down x + b_down) + b_up)
    adaptformer       x' + MLP(LN(x')) + A(LN(x')), act = ReLU. Chen et al., NeurIPS 2022, arXiv
                      2205.13535, section 3.2
    adapter-parallel  x' + MLP(LN(x')) + A(x'), act = GELU. He et al., ICLR 2022, arXiv 2110.04366,
                      section 4

adaptformer starts at the backbone: W_down kaiming uniform (a = sqrt 5), the rest 0.
adapter-parallel starts close to it, as Houlsby's do.

As released: AdaptFormer's bottleneck (main_image.py) sees x' without a norm, and a tenth of its
hidden values is dropped in training; its paper's equation is `adaptformer(form=paper,dropout=0)`.
It trains by SGD, with a batch norm without weights before the head; here a protocol's recipe and
head, as in OSU's tables.
adapter-parallel is as in Adapter+'s code, which drops A for a tenth of the images; He et al., on
language, give A the norm's output, s = 4 and ReLU. Neither drop-path nor layer scale is on A.

Ours: the sizes and scales that are searched are OSU's for AdaptFormer (its own are 64 and 0.1), and
those of `pfeiffer` for adapter-parallel.

Equal to the released code, logits to 1e-14, gradients to 1e-14, on a small ViT in float64:
`adaptformer` to ShoufaChen/AdaptFormer (commit 6967d67), in training too; `adapter-parallel` to
visinf/adapter_plus (commit 191c4ab).
"""

import math
from typing import Literal

from torch import nn

from harness import FrozenViT
from methods.adapter_parts import ALLOWED, RATES, Beside, Bottleneck, near_zero, searched


class AdaptFormer(Beside):
    """`form` says what the bottleneck sees: "released", the stream; "paper", the norm's output."""

    name = "adaptformer"
    year = 2022
    summary = "AdaptFormer as released: a bottleneck beside every MLP (arXiv 2205.13535)"
    note = "adaptformer's published numbers are those of the best epoch on test; OSU's the last's."
    search_space = {"bottleneck": (4, 16, 32), "scale": (0.05, 0.1, 0.2), "base_lr": RATES}
    allows = ALLOWED

    def __init__(
        self,
        vit: FrozenViT,
        bottleneck: int = 64,
        scale: float = 0.1,
        dropout: float = 0.1,
        form: Literal["released", "paper"] = "released",
    ):
        self.check(locals())
        super().__init__(vit)
        self.normed = form == "paper"
        for _ in range(vit.depth):
            down, up = nn.Linear(vit.dim, bottleneck), nn.Linear(bottleneck, vit.dim)
            nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5))
            for zero in (down.bias, up.weight, up.bias):
                nn.init.zeros_(zero)
            self.nets.append(Bottleneck(down, up, nn.ReLU(), scale, dropout))


class Parallel(Beside):
    """On the stream, and dropped for a share of the images."""

    name = "adapter-parallel"
    year = 2022
    summary = "Parallel adapters: a bottleneck with GELU beside every MLP (arXiv 2110.04366)"
    search_space = searched(4, 8, 16, 32, 64)
    allows = ALLOWED
    optimizer = {"optimizer": "adamw", "no_decay": "vectors"}

    def __init__(
        self, vit: FrozenViT, bottleneck: int = 8, scale: float = 1.0, drop_path: float = 0.1
    ):
        self.check(locals())
        super().__init__(vit)
        for _ in range(vit.depth):
            self.nets.append(near_zero(vit.dim, bottleneck, scale, drop_path=drop_path))
