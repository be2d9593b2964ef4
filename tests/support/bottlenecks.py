"""What the tests of adapters share: one with random values, a bottleneck token by token, and the
same gradients of two forms."""

from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from tuned import IMAGES, randomise

from harness.backbones.frozen import Read
from harness.backbones.vit import FrozenViT
from harness.planning.variants import parse


def count(label: str) -> int:
    """Of trained values on ViT-B/16."""
    (variant,) = parse(label)
    with torch.device("meta"):
        built = variant.method(FrozenViT(VisionTransformer(num_classes=0)), **variant.arguments)
    return sum(p.numel() for p in built.parameters() if p.requires_grad)


def made(vit: VisionTransformer, label: str, noise: float = 0.3) -> Any:
    """The method on a small ViT in float64, away from its first values."""
    torch.manual_seed(0)
    (variant,) = parse(label)
    pooling = "cls" if vit.global_pool == "token" else "avg"
    built = variant.build(FrozenViT(vit, pooling), variant.arguments).double()
    randomise(built, noise)
    return built


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


def quick_gelu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-1.702 * x))


def relu(x: Tensor) -> Tensor:
    return x * (x > 0)


def bottleneck(net: Any, tokens: Tensor, act: Any) -> Tensor:
    """s (W_up act(W_down x + b_down) + b_up), one token after the other."""
    out = []
    for token in tokens.flatten(0, -2):
        hidden = act(net.down.weight @ token + net.down.bias)
        out.append(net.scale * (net.up.weight @ hidden + net.up.bias))
    return torch.stack(out).view_as(tokens)


def same(built: Any, slow: Tensor) -> None:
    """`slow`: all rows behind the last block. A method gives these, whatever is read of it, and the
    same gradients."""
    reads = (built.vit.read(), Read((0, 2), "image"))
    trained = [parameter for parameter in built.parameters() if parameter.requires_grad]
    for read in reads:
        rows = slow[:, :1] if read.rows == "cls" else slow[:, built.vit.prefix :]
        found = built(IMAGES, read)[-1]
        torch.testing.assert_close(found, rows, rtol=1e-9, atol=1e-9)
        weights = torch.randn_like(found)
        mine = torch.autograd.grad((found * weights).sum(), trained)
        theirs = torch.autograd.grad((rows * weights).sum(), trained, retain_graph=True)
        assert sum(other.abs().max() > 1e-3 for other in theirs) > len(trained) / 2
        for ours, other in zip(mine, theirs, strict=True):
            torch.testing.assert_close(ours, other, rtol=1e-9, atol=1e-9)
