"""SSF: scale and shift the features after every operation. Lian et al., NeurIPS 2022, arXiv
2210.08823, section 3.2.

    y = gamma * x + beta,   after each linear map, norm and the patch embedding; gamma from N(1,
                            0.02^2), beta from N(0, 0.02^2)

Outputs are scaled, so that no gradient of a weight's size is computed. `merge` is the paper's
re-parameterisation: gamma (W x + b) + beta is a map with W' = gamma W and b' = gamma b + beta.

As released (dongzelian/SSF, commit e94e0e7), but that drop-path, learning rate and weight decay are
chosen for each task there. The learning rates searched here are ours.

Equal to the released code, with layer scale too and with drop-path: logits to 1e-14, gradients to
1e-14, on a small ViT in float64.
"""

from typing import Any

import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from harness import ADAMW_RATES, FrozenBackbone, Method

CHANNELS_FIRST = (nn.Conv2d, nn.BatchNorm2d, LayerNorm2d)


class Scaled(nn.Module):
    """A linear map, norm or convolution, and a scale and a shift for each of its outputs."""

    each_token = True

    def __init__(self, operation: nn.Linear | nn.LayerNorm | nn.Conv2d | nn.BatchNorm2d):
        super().__init__()
        self.operation = operation
        like = operation.weight
        self.gamma = nn.Parameter(1 + 0.02 * torch.randn(len(like)).to(like))
        self.beta = nn.Parameter(0.02 * torch.randn(len(like)).to(like))

    def forward(self, tokens: Tensor) -> Tensor:
        gamma, beta = self.gamma, self.beta
        if isinstance(self.operation, CHANNELS_FIRST):
            gamma, beta = gamma[:, None, None], beta[:, None, None]
        return torch.addcmul(beta, gamma, self.operation(tokens))

    def merged(self) -> nn.Module:
        """One operation that does the same."""
        one: Any = self.operation
        one.weight *= self.gamma.view(-1, *[1] * (one.weight.ndim - 1))
        if one.bias is None:
            one.bias = nn.Parameter(self.beta.detach().clone(), requires_grad=False)
        else:
            one.bias.copy_(torch.addcmul(self.beta, self.gamma, one.bias))
        return one


class SSF(Method):
    """A scale and a shift for every output of every linear map, norm and convolution."""

    name = "ssf"
    family = "peft"
    year = 2022
    version = "3"
    summary = "SSF: scale and shift after every operation (arXiv 2210.08823)"
    needs = ("operations",)
    search_space = {"base_lr": ADAMW_RATES}
    optimizer = {"optimizer": "adamw", "no_decay": "vectors"}
    """Weight decay would pull gamma to 0, not to 1: SSF's code spares all 1-d tensors."""

    def __init__(self, vit: FrozenBackbone):
        super().__init__(vit)
        for name, module in self._modules_of():
            if isinstance(module, nn.Linear | nn.LayerNorm | nn.Conv2d | nn.BatchNorm2d):
                self._put(name, Scaled(module))

    def merge(self) -> None:
        vit: Any = self.vit.vit
        for name, module in self._modules_of():
            if isinstance(module, Scaled):
                lacking = getattr(module.operation, "bias", None) is None
                self._put(name, module.merged())
                if lacking and name == "patch_embed.proj":  # positions are added to it
                    vit.pos_embed[:, -self.vit.image_tokens :] += module.beta
                    vit.patch_embed.proj.bias = None

    def _modules_of(self) -> list[tuple[str, nn.Module]]:
        return list(self.vit.vit.named_modules())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]  # torch: no annotation

    def _put(self, name: str, module: nn.Module) -> None:
        parent, _, last = name.rpartition(".")
        setattr(self.vit.vit.get_submodule(parent), last, module)
