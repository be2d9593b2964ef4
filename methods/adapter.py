"""Adapters behind parts of a block. A(x) = s (W_up GELU(W_down x + b_down) + b_up), with W_down of
h x d and W_up of d x h:

    houlsby       y + A(y) for what attention gives, and for what the MLP gives, before the
                  residuals. Houlsby et al., ICML 2019, arXiv 1902.00751, section 2.1
    pfeiffer      y + A(y) for what the MLP gives. Pfeiffer et al., EACL 2021, arXiv 2005.00247,
                  section 3
    adapter-plus  x + a * A(x) for what the block gives, a in R^d trained, from 1. Steitz and Roth,
                  CVPR 2024, arXiv 2406.06820, section 4

W_down and W_up start from N(0, 0.01^2), cut at two standard deviations, the biases at 0: close to
the backbone, not at it.

As released: Adapter+ drops A for a tenth of the images, and decays no vector. Its code reads
Pfeiffer's as `normed`: x + A(LN(x)) for what the block gives, with a norm that is trained; other
tables (OSU's, NOAH's) have the form above. `norms` trains the backbone's norms too, as Houlsby's
paper does.

Ours: sizes, scales and dropout of houlsby and pfeiffer are OSU's; the papers, on language, have no
scale and no dropout. A sees what layer scale and drop-path give, as in Adapter+'s code.

Equal to the released code (visinf/adapter_plus, commit 191c4ab), logits to 1e-14, gradients to
1e-14, on a small ViT in float64: `houlsby`, with `norms` too; `pfeiffer`, which it calls
"intermediate", and `normed`; `adapter-plus`.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harness import FrozenViT
from methods.adapter_parts import ALLOWED, Adapter, near_zero, searched


class Behind(nn.Module):
    """A part of a block, and a bottleneck behind it."""

    each_token = True

    def __init__(self, part: nn.Module, net: nn.Module):
        super().__init__()
        self.part, self.net = part, net

    def forward(self, tokens: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch row dim"]:
        given = self.part(tokens)
        return given + self.net(given)


class Houlsby(Adapter):
    """Behind attention and behind the MLP; with `norms` the backbone's norms are trained too."""

    name = "houlsby"
    year = 2019
    summary = "Houlsby's adapters: bottlenecks behind attention and MLP (arXiv 1902.00751)"
    search_space = searched(4, 8, 16, 32)
    allows = ALLOWED
    toggles = ("norms",)

    def __init__(
        self,
        vit: FrozenViT,
        bottleneck: int = 8,
        scale: float = 1.0,
        dropout: float = 0.1,
        norms: bool = False,
    ):
        self.check(locals())
        super().__init__(vit)
        for module in self.vit.vit.modules():
            if norms and isinstance(module, nn.LayerNorm):
                module.requires_grad_(True)
        block: Any
        for block in self.vit.vit.blocks:
            for place in ("drop_path1", "drop_path2"):
                net = near_zero(vit.dim, bottleneck, scale, dropout)
                setattr(block, place, Behind(getattr(block, place), net))


class Pfeiffer(Adapter):
    """Behind the MLP; `normed`: behind the block, on a norm of their own."""

    name = "pfeiffer"
    year = 2020
    summary = "Pfeiffer's adapters: bottlenecks behind the MLP (arXiv 2005.00247)"
    search_space = searched(4, 8, 16, 32, 64)
    allows = ALLOWED
    toggles = ("normed",)

    def __init__(
        self,
        vit: FrozenViT,
        bottleneck: int = 8,
        scale: float = 1.0,
        dropout: float = 0.1,
        normed: bool = False,
    ):
        self.check(locals())
        super().__init__(vit)
        block: Any
        for block in self.vit.vit.blocks:
            net = near_zero(vit.dim, bottleneck, scale, dropout)
            if normed:
                self.nets.append(nn.Sequential(nn.LayerNorm(vit.dim, eps=1e-6), net))
            else:
                block.drop_path2 = Behind(block.drop_path2, net)


class AdapterPlus(Adapter):
    """Behind the block, each channel scaled by a trained value."""

    name = "adapter-plus"
    year = 2024
    summary = "Adapter+: bottlenecks behind the block, scaled by channel (arXiv 2406.06820)"
    note = "adapter-plus's published mean over VTAB-1k chose the bottleneck for each task."
    search_space = {"bottleneck": (1, 2, 4, 8, 16, 32), "base_lr": (0.004,)}
    optimizer = {"optimizer": "adamw", "no_decay": "vectors"}

    def __init__(self, vit: FrozenViT, bottleneck: int = 8, drop_path: float = 0.1):
        self.check(locals())
        super().__init__(vit)
        for _ in range(vit.depth):
            scale = nn.Parameter(torch.ones(vit.dim))
            self.nets.append(near_zero(vit.dim, bottleneck, scale, drop_path=drop_path))
