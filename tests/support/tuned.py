"""What tests of methods read of one that is built: on a small ViT, in float64."""

import copy

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.func import functional_call

from harness.backbones.vit import FrozenViT
from harness.training.method import Method

IMAGES = torch.randn(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def own(vit: VisionTransformer) -> FrozenViT:
    """A method's backbone is a copy of its own."""
    return FrozenViT(copy.deepcopy(vit))


def features(method: Method) -> Tensor:
    (tokens,) = method(IMAGES, method.vit.read())
    return method.vit.pool(tokens)


def trainable(method: Method) -> dict[str, Tensor]:
    return {name: p for name, p in method.named_parameters() if p.requires_grad}


def randomise(method: Method, noise: float = 0.3) -> None:
    """Away from its first values."""
    with torch.no_grad():
        for parameter in trainable(method).values():
            parameter.add_(noise * torch.randn_like(parameter))


def check_equal_to_form(method: Method, ours: Tensor, theirs: Tensor, least: float = 1e-6) -> None:
    """Two forms of a method's features have the same values and the same gradients of all that it
    trains, each of which reaches it: its largest value is above `least`."""
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    trained, weights = list(trainable(method).values()), torch.randn_like(ours)
    mine = torch.autograd.grad((ours * weights).sum(), trained)
    expected = torch.autograd.grad((theirs * weights).sum(), trained)
    assert all(gradient.abs().max() > least for gradient in expected)
    torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)


def check_equal_to_weights(
    plain: VisionTransformer, method: Method, weights: dict[str, Tensor]
) -> None:
    """A method's features, and gradients of all that it trains, are those of `plain` with these
    weights, which are functions of the same tensors."""
    tuned = trainable(method)
    expected = functional_call(plain, weights, (IMAGES,))
    ours, given = features(method), torch.randn_like(expected)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)
    mine = torch.autograd.grad((ours * given).sum(), list(tuned.values()))
    theirs = torch.autograd.grad((expected * given).sum(), list(tuned.values()))
    for name, one, other in zip(tuned, mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9, msg=name)
