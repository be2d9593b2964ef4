"""Which of the backbone's own tensors train: biases, norms, attention, MLPs, or the last blocks.

    bitfit        all biases. Ben Zaken, Goldberg and Ravfogel, "BitFit", ACL 2022, arXiv 2106.10199
    ln-tuning     weights and biases of all norms, a ConvNet's batch norms included. Qi et al.,
                  "Parameter-Efficient Tuning on Layer Normalization for Pre-trained Language
                  Models", arXiv 2211.08682
    difffit       both, and on each branch a scale, one value a channel, from 1. Xie et al.,
                  "DiffFit", ICCV 2023, arXiv 2304.06648, section 3.2:
                  x' = x + gamma_1 * Attn(LN(x)),   x'' = x' + gamma_2 * MLP(LN(x'))
    attn-tuning   qkv and output projection of all blocks. Touvron et al., "Three things everyone
                  should know about Vision Transformers", ECCV 2022, arXiv 2203.09795, section 4
    mlp-tuning    beside it, both maps of all MLPs
    partial-k     all of the last k blocks, as in the tables of VPT, ECCV 2022, arXiv 2203.12119

As released (KMnP/vpt, commit 4410440), partial-k trains the last norm too: `norm=true`. In a Swin,
as there, it trains what merges patches between the last k blocks, and bitfit tables of positions.

Ours: weight decay spares 1-d tensors in ln-tuning and difffit, since it would pull norms and scales
to 0, not to what they were. The learning rates searched are, for norms and scales, AdamW's 1e-3 and
1e-2 at batch 64 as in OSU-MLB/ViT_PEFT_Vision (commit cea7e21), and for matrices VPT's for `full`.

Equal to mkshing/DiffFit-pytorch (commit 78dc2d1, not its authors'), `difffit`: logits to 1e-14.
"""

import re
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harness import FrozenBackbone, Method

VECTOR_RATES = (0.004, 0.04)
MATRIX_RATES = (0.001, 0.0001, 0.0005, 0.005)


class Selective(Method):
    family = "peft"
    year = 2022
    needs = ()
    trains: str
    """A pattern in the names of the tensors that train."""
    norms = False
    """Whether those of all norms train too, whatever their names."""

    def __init__(self, vit: FrozenBackbone):
        super().__init__(vit)
        for name, module in self.vit.vit.named_modules():
            norm = self.norms and "Norm" in type(module).__name__
            for own, parameter in module.named_parameters(name, recurse=False):
                parameter.requires_grad_(norm or re.search(self.trains, own) is not None)


class BitFit(Selective):
    name = "bitfit"
    summary = "BitFit: the backbone's bias terms (arXiv 2106.10199)"
    trains = "bias"


class LNTuning(Selective):
    name = "ln-tuning"
    summary = "LN-tuning: weights and biases of the norms (arXiv 2211.08682)"
    search_space = {"base_lr": VECTOR_RATES}
    optimizer = {"optimizer": "adamw", "no_decay": "vectors"}
    trains = "norm"
    norms = True


class Gamma(nn.Module):
    """A scale of each channel."""

    each_token = True

    def __init__(self, like: Tensor):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones_like(like))

    def forward(self, tokens: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        return self.gamma * tokens


class DiffFit(LNTuning):
    """Biases, norms, and a scale of each channel of what attention and MLP add."""

    name = "difffit"
    year = 2023
    summary = "DiffFit: biases, norms and a scale on each branch (arXiv 2304.06648)"
    needs = ("plain blocks",)
    trains = "norm|bias$"

    def __init__(self, vit: FrozenBackbone):
        super().__init__(vit)
        block: Any
        for block in self.vit.vit.blocks:
            block.ls1 = nn.Sequential(block.ls1, Gamma(block.norm1.weight))
            block.ls2 = nn.Sequential(block.ls2, Gamma(block.norm2.weight))

    def merge(self) -> None:
        block: Any
        for block in self.vit.vit.blocks:
            for place, linear in (("ls1", block.attn.proj), ("ls2", block.mlp.fc2)):
                scale, gamma = getattr(block, place)
                linear.weight *= gamma.gamma[:, None]
                linear.bias *= gamma.gamma
                setattr(block, place, scale)


class AttnTuning(Selective):
    name = "attn-tuning"
    summary = "Attention tuning: qkv and projection of all blocks (arXiv 2203.09795)"
    needs = ("linear maps",)
    search_space = {"base_lr": MATRIX_RATES}
    optimizer = {"optimizer": "adamw"}
    trains = r"attn\.(qkv\.|proj\.|[qv]_bias$)"


class MLPTuning(AttnTuning):
    name = "mlp-tuning"
    summary = "MLP tuning: both maps of all MLPs, beside attention tuning (arXiv 2203.09795)"
    trains = r"mlp\.fc[12]\."


class PartialK(AttnTuning):
    name = "partial-k"
    summary = "Partial-k: the last k blocks, as in VPT's tables (arXiv 2203.12119)"
    needs = ()
    toggles = ("norm",)

    def __init__(self, vit: FrozenBackbone, blocks: int = 1, norm: bool = False):
        if not 1 <= blocks <= vit.depth:
            raise ValueError(
                f"partial-k: blocks={blocks}, and the backbone has 1 to {vit.depth}; none: linear"
            )
        found = ""
        for name, module in vit.vit.named_modules():
            if module in vit.blocks[-blocks:] or (found and name.endswith(".downsample")):
                found += rf"^{re.escape(name)}\.|"
        self.trains = found + r"^(fc_|head\.)?norm\." if norm else found[:-1]
        super().__init__(vit)
