"""Maps of 1 bit a weight, and how a checkpoint keeps them; see `binary`."""

import math
from statistics import NormalDist
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from harness import Method
from methods.adapter_parts import Bottleneck

CODE = NormalDist().inv_cdf(0.75)
BIT = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device="cpu")
"""Of a byte, the lowest first."""


class OneBit(nn.Module):
    """A linear map whose weights take two values."""

    each_token = True

    def __init__(self, weight: Float[Tensor, "out in"]):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.loaded = False
        """Whether `weight` already has but two values."""

    def forward(self, tokens: Float[Tensor, "batch row in"]) -> Float[Tensor, "batch row out"]:
        return F.linear(tokens, self.coded())

    def coded(self) -> Tensor:
        if self.loaded:
            return self.weight
        mean, std = self.weight.mean(), self.weight.std()
        normed = (self.weight - mean) / (std + 1e-5)
        above = (normed >= 0).to(normed.dtype)
        return (CODE * (2 * above - 1) + (normed - normed.detach())) * std + mean

    def packed(self) -> dict[str, Tensor]:
        """Its bits and its two values."""
        coded = self.coded().detach().flatten().cpu()
        values = torch.stack(coded.aminmax())
        bits = F.pad((coded == values[1]).to(torch.uint8), (0, -len(coded) % 8))
        return {"bits": (bits.view(-1, 8) * BIT).sum(1, dtype=torch.uint8), "values": values}

    def unpacked(self, bits: Tensor | None, values: Tensor | None) -> Tensor:
        """The weights, which are then taken as they are."""
        count = self.weight.numel()
        if bits is None or bits.dtype != torch.uint8 or bits.shape != (-(-count // 8),):
            raise ValueError("other bits")
        if values is None or values.shape != (2,):
            raise ValueError("other values")
        self.loaded = True
        ones = (bits[:, None] & BIT).flatten()[:count] > 0
        return torch.where(ones, values[1], values[0]).view(self.weight.shape)


class Packed(Method):
    """Checkpoints keep its maps as bits."""

    def pack(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        for name, part in self._maps():
            del tensors[f"{name}.weight"]
            tensors |= {f"{name}.{key}": value for key, value in part.packed().items()}
        return tensors

    def unpack(self, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        for name, part in self._maps():
            found = (kept.pop(f"{name}.{key}", None) for key in ("bits", "values"))
            kept[f"{name}.weight"] = part.unpacked(*found)
        return kept

    def _maps(self) -> list[tuple[str, OneBit]]:
        modules: list[tuple[str, Any]] = list(self.named_modules())  # pyright: ignore[reportUnknownArgumentType]  # torch: no annotation
        return [(name, part) for name, part in modules if isinstance(part, OneBit)]


def one_bit(dim: int, hidden: int, act: nn.Module, scale: float, dropout: float) -> Bottleneck:
    down, up = torch.empty(hidden, dim), torch.empty(dim, hidden)
    nn.init.kaiming_uniform_(down, a=math.sqrt(5))
    nn.init.trunc_normal_(up, std=0.001, a=-0.002, b=0.002)
    return Bottleneck(OneBit(down), OneBit(up), act, scale, dropout)
