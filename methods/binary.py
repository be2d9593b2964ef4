"""Bi-AdaptFormer and Bi-LoRA: adapters of 1 bit a weight. Jie et al., ICCV 2023, arXiv 2307.16867,
section 4.

    w_n = (w - mean(w)) / (std(w) + 1e-5),   w_q = mean(w) + std(w) c sign(w_n),   c = 0.6745

are the weights that act, of each map W: mean and std over the map, with gradients; c, the median of
|N(0, 1)|, is the code that is best for Gaussian weights, and sign's gradient is taken for that of
w_n (straight-through). A tuned map is a bit a weight and two numbers, and so a checkpoint keeps it.

    bi-adaptformer   x' + MLP(LN(x')) + s W_up drop(ReLU(W_down x')),  x' behind attention
    bi-lora          W_q z + s W_up drop(W_down z), and the same for W_v, each with maps of its own

without biases. W_down starts kaiming uniform (a = sqrt 5), W_up from N(0, 0.001^2), cut at two
standard deviations.

As released: a tenth of the hidden values is dropped in training, neither drop-path nor layer scale
is on the branch, s is chosen for each task among the values searched here, h = 32. It has forms
with 2, 4 and 8 bits, and a head of 1 bit, too; here only 1 bit and the usual head. Its numbers are
on pixels without statistics.

Ours: a weight at the mean counts as above it (sign(0) = 1). A checkpoint has the two values that
weights take, there mean and std: as many bytes.

A checkpoint on ViT-B/16 has 72.2 KiB for bi-adaptformer and 144.4 for bi-lora beside the head; with
140.8 of a linear probe's, as the paper has it, 213.0 and 285.2 (printed: 212.9 and 285.1).

Equal to the released code (JieShibo/PETL-ViT, commit 026e4f1), in training too: logits to 1e-13,
gradients to 1e-12, on two blocks of ViT-B's width in float64, with c rounded to float32 as it is
there; with c as it is, to 5e-8. Its checkpoints of KITTI give the same logits here.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harness import FrozenViT
from methods.adapter_parts import ANY_SCALE, Adapter, Beside, Bottleneck
from methods.binary_parts import Packed, one_bit

SEARCHED = {"scale": (0.01, 0.1, 1.0, 10.0), "base_lr": (0.004,)}


class BiAdaptFormer(Packed, Beside):
    """Beside the MLP, on the stream."""

    name = "bi-adaptformer"
    year = 2023
    summary = "Bi-AdaptFormer: AdaptFormer with a bit a weight (arXiv 2307.16867)"
    note = "the published numbers of bi-adaptformer chose its scale and the epoch on test."
    search_space = SEARCHED
    allows = {"scale": ANY_SCALE}

    def __init__(
        self, vit: FrozenViT, bottleneck: int = 32, scale: float = 1.0, dropout: float = 0.1
    ):
        self.check(locals())
        super().__init__(vit)
        for _ in range(vit.depth):
            self.nets.append(one_bit(vit.dim, bottleneck, nn.ReLU(), scale, dropout))


class QueryValue(nn.Module):
    """A projection with something added to its queries and its values."""

    each_token = True

    def __init__(self, qkv: nn.Module, query: Bottleneck, value: Bottleneck):
        super().__init__()
        self.qkv, self.query, self.value = qkv, query, value

    def forward(self, tokens: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch row qkv"]:
        query, value = self.query(tokens), self.value(tokens)
        return self.qkv(tokens) + torch.cat([query, torch.zeros_like(query), value], dim=-1)


class BiLoRA(Packed, Adapter):
    """Beside the projections to queries and values, on what the norm gives."""

    name = "bi-lora"
    year = 2023
    summary = "Bi-LoRA: LoRA with a bit a weight (arXiv 2307.16867)"
    note = "the published numbers of bi-lora chose its scale and the epoch on test."
    needs = ("column", "linear maps")
    search_space = SEARCHED
    allows = {"scale": ANY_SCALE}

    def __init__(self, vit: FrozenViT, rank: int = 32, scale: float = 1.0, dropout: float = 0.1):
        self.check(locals())
        super().__init__(vit)
        block: Any
        for block in self.vit.vit.blocks:
            nets = (one_bit(vit.dim, rank, nn.Identity(), scale, dropout) for _ in "qv")
            block.attn.qkv = QueryValue(block.attn.qkv, *nets)

    def merge(self) -> None:
        block: Any
        for block in self.vit.vit.blocks:
            both = block.attn.qkv
            query, _, value = both.qkv.weight.chunk(3)
            for part, net in ((query, both.query), (value, both.value)):
                part += net.scale * net.up.coded() @ net.down.coded()
            block.attn.qkv = both.qkv
