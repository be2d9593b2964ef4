"""SSF: scale and shift the features after every operation. Lian et al., NeurIPS 2022, arXiv
2210.08823, section 3.2.

    y = gamma * x + beta,   after each linear map, norm and the patch embedding; gamma from N(1,
                            0.02^2), beta from N(0, 0.02^2)

As the paper's re-parameterisation says, gamma (W x + b) + beta is a map with W' = gamma W and b' =
gamma b + beta: so it is computed. The learning rates searched are ours.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from harness import ADAMW_RATES, FrozenViT, Method


class Scale(nn.Module):
    """A weight (out, ...) or a bias (out,), scaled by one value an output."""

    def __init__(self, gamma: nn.Parameter):
        super().__init__()
        self.gamma = gamma

    def forward(self, tensor: Tensor) -> Tensor:
        return self.gamma.view(-1, *[1] * (tensor.ndim - 1)) * tensor


class Shift(nn.Module):
    """A bias, moved by one value an output."""

    def __init__(self, size: int):
        super().__init__()
        self.beta = nn.Parameter(0.02 * torch.randn(size))

    def forward(self, bias: Tensor) -> Tensor:
        return bias + self.beta


class SSF(Method):
    """A scale and a shift for every output of every linear map, norm and the patch embedding."""

    name = "ssf"
    family = "peft"
    year = 2022
    summary = "SSF: scale and shift after every operation (arXiv 2210.08823)"
    search_space = {"base_lr": ADAMW_RATES}
    version = "2"
    optimizer = {"optimizer": "adamw", "no_decay": "vectors"}
    """Weight decay would pull gamma to 0, not to 1: SSF's code spares all 1-d tensors."""

    def __init__(self, vit: FrozenViT):
        super().__init__(vit)
        for module in list(self.vit.vit.modules()):
            if not isinstance(module, nn.Linear | nn.LayerNorm | nn.Conv2d):
                continue
            if module.bias is None:
                module.bias = nn.Parameter(
                    module.weight.new_zeros(len(module.weight)), requires_grad=False
                )
            gamma = nn.Parameter(1 + 0.02 * torch.randn_like(module.bias))
            parametrize.register_parametrization(module, "weight", Scale(gamma))
            parametrize.register_parametrization(module, "bias", Scale(gamma))
            parametrize.register_parametrization(module, "bias", Shift(len(gamma)).to(gamma))
