"""Conv-Adapter: a small convolution beside a ConvNet's own. Chen et al., CVPR Workshops 2024, arXiv
2208.07463, section 3, "convolution parallel".

    y = Conv(x) + s * W_p act(W_d x)

W_d makes C / r channels of C, each of r neighbouring ones, with the kernel and stride of the
convolution that it stands beside; W_p is 1 x 1; s is one value a channel, from 1.

    ConvNeXt   beside each depth-wise convolution and those between stages; GELU
    ResNet     beside each bottleneck's 3 x 3 convolution with its norm and ReLU; ReLU

W_d and W_p start as the released backbones draw all convolutions: in ConvNeXt from N(0, 0.02^2), in
ResNet from Kaiming's normal distribution by fan-out; biases at 0. As released, a ConvNeXt's norms
in blocks and its last one are trained too: `norms=true`.

Ours: in a block of two 3 x 3 convolutions (ResNet-18, -34) it stands beside the first, before its
norm, as the released code means to and doesn't run. There batch norms are in training mode; ours
keep their mean and variance. The learning rates searched are those of our other adapters.

Equal to the released code (Hhhhhhao/Conv-Adapter, commit 97e1fc8) on the same weights, batch norms
in eval mode, in float64: a ResNet's features and gradients to the last bit, a ConvNeXt's features
to 2e-15 and gradients to 3e-15 of their size.
"""

from typing import Any

from jaxtyping import Float
from timm.models.convnext import ConvNeXtBlock
from timm.models.resnet import Bottleneck
from torch import Tensor, nn

from harness import FrozenBackbone, Method
from methods.adapter_parts import RATES


class Beside(nn.Module):
    """What stood there, and the adapter of what that is given; `conv` is its convolution."""

    def __init__(self, own: nn.Module, conv: nn.Conv2d, reduction: int, act: nn.Module):
        super().__init__()
        channels = conv.in_channels // reduction
        if not channels or conv.in_channels % channels:
            raise ValueError(
                f"conv-adapter's reduction={reduction} makes no equal groups of"
                f" {conv.in_channels} channels"
            )
        shape: dict[str, Any] = {
            name: getattr(conv, name) for name in ("kernel_size", "stride", "padding")
        }
        self.own, self.act = own, act
        self.down = nn.Conv2d(conv.in_channels, channels, groups=channels, **shape)
        self.up = nn.Conv2d(channels, conv.out_channels, 1)
        self.scale = nn.Parameter(conv.weight.new_ones(conv.out_channels, 1, 1))
        part: Any
        for part in (self.down, self.up):
            if isinstance(act, nn.GELU):
                nn.init.normal_(part.weight, std=0.02)
            else:
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(part.bias)

    def forward(
        self, x: Float[Tensor, "batch dim height width"]
    ) -> Float[Tensor, "batch out down across"]:
        return self.own(x) + self.scale * self.up(self.act(self.down(x)))


class ConvAdapter(Method):
    """Adapters of `1 / reduction` of the channels."""

    name = "conv-adapter"
    family = "peft"
    year = 2022
    summary = "Conv-Adapter: convolutions beside a ConvNet's own (arXiv 2208.07463)"
    needs = ("convolutions",)
    search_space = {"base_lr": RATES}
    optimizer = {"optimizer": "adamw"}
    toggles = ("norms",)

    def __init__(self, vit: FrozenBackbone, reduction: int = 8, norms: bool = False):
        super().__init__(vit)
        for block in vit.blocks:
            if block.__class__ is ConvNeXtBlock:
                block.conv_dw = Beside(block.conv_dw, block.conv_dw, reduction, nn.GELU())
            elif block.__class__ is Bottleneck:
                whole = nn.Sequential(block.conv2, block.bn2, block.drop_block, block.act2)
                block.conv2 = Beside(whole, block.conv2, reduction, nn.ReLU())
                block.bn2, block.drop_block, block.act2 = (nn.Identity() for _ in range(3))
            else:
                block.conv1 = Beside(block.conv1, block.conv1, reduction, nn.ReLU())
        for stage in getattr(vit.vit, "stages", ()):
            if isinstance(stage.downsample, nn.Sequential):
                conv: Any = stage.downsample[1]
                stage.downsample[1] = Beside(conv, conv, reduction, nn.GELU())
        for name, parameter in vit.vit.named_parameters():
            if norms and "norm" in name:
                parameter.requires_grad_(True)
