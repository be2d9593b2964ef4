"""VAPT: against a slow form with a convolution for each channel, and what its first step moves."""

import math
from typing import Any

import oracle
import pytest
import torch
import torch.nn.functional as F
from architectures import build
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from harness.backbones.vit import FrozenViT
from methods.vapt import VAPT

IMAGES = torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def make(vit: VisionTransformer, moved: bool = True, **arguments) -> VAPT:
    """In eval mode; `moved`: with projectors that are no longer zero."""
    torch.manual_seed(0)
    pooling = "cls" if vit.global_pool == "token" else "avg"
    given = {"prompts": 5, "hidden": 3, "dropout": 0.0, **arguments}
    method = VAPT(FrozenViT(vit, pooling), **given).double()
    if moved:
        for own in method.projectors.parameters():
            own.data += 0.5 * torch.randn_like(own)
    return method.eval()


def tokens_of(method: Any, images: Tensor = IMAGES) -> Tensor:
    (tokens,) = method(images, method.vit.read())
    return tokens


def slow(method: VAPT, vit: VisionTransformer) -> Tensor:
    """Tokens behind the last block: channel by channel, position by position, concatenated."""
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(IMAGES)))
    prefix, (height, width) = vit.num_prefix_tokens, vit.patch_embed.grid_size
    for index, block in enumerate(vit.blocks):
        if index == 0:
            own = method.prompts.expand(4, -1, -1)
        else:
            one: Any = method.projectors[index - 1]
            x = F.layer_norm(tokens, (24,), one.norm.weight, one.norm.bias, 1e-5)[:, prefix:]
            x = x.transpose(1, 2).reshape(4, 24, height, width)
            size = len(one.kernel)
            y = [
                (x[:, :, i : i + size, j : j + size] * one.kernel).sum((2, 3))
                for i in range(height - size + 1)
                for j in range(width - size + 1)
            ]
            u = torch.einsum("jp,pbc->bjc", one.weight, torch.stack(y)) + one.bias[:, None]
            first: Any = method.bottleneck[0]
            second: Any = method.bottleneck[-1]
            own = u + (u @ first.weight.T).clamp(min=0) @ second.weight.T
        out = block(torch.cat([tokens, own], dim=1))
        tokens = out[:, : tokens.shape[1]]
    return tokens


@pytest.mark.parametrize(
    ("arguments", "expected"), [({}, 55_608), ({"prompts": 5}, 42_418), ({"kernel": 3}, None)]
)
def test_parameter_counts_on_vit_b16(arguments: dict, expected: int | None):
    with torch.device("meta"):
        method = VAPT(FrozenViT(VisionTransformer(num_classes=0)), **arguments)
    count, kernel = arguments.get("prompts", 10), arguments.get("kernel", 2)
    formula = (
        count * 768 + 2 * 768 * 8 + 11 * (2 * 768 + kernel**2 + ((15 - kernel) ** 2 + 1) * count)
    )
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == formula
    assert expected in (None, formula)


def test_it_equals_the_slow_form_on_every_backbone(vit: VisionTransformer):
    holds(vit)


@pytest.mark.parametrize("kernel", [1, 3, 4])
def test_it_equals_the_slow_form_with_every_kernel(plain: VisionTransformer, kernel: int):
    holds(plain, kernel=kernel)


def holds(vit: VisionTransformer, **arguments) -> None:
    """In values and gradients."""
    method = make(vit, **arguments)
    tokens, expected = tokens_of(method), slow(method, vit)
    rows = expected[:, :1] if method.vit.pooling == "cls" else expected[:, vit.num_prefix_tokens :]
    torch.testing.assert_close(tokens, rows, rtol=1e-9, atol=1e-9)
    weights, trained = torch.randn_like(rows), [p for p in method.parameters() if p.requires_grad]
    ours, theirs = (torch.autograd.grad((made * weights).sum(), trained) for made in (tokens, rows))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_at_the_start_prompts_are_zero_for_any_image_and_not_absent(plain: VisionTransformer):
    method = make(plain, moved=False)
    for index in (1, 2):
        for seed in (0, 1):
            tokens = torch.randn(2, 17, 24, generator=torch.Generator().manual_seed(seed)).double()
            made = method.made(index, tokens)
            assert torch.equal(made, torch.zeros(2, 5, 24, dtype=torch.float64))
    zeros = [method.prompts, *torch.zeros(2, 5, 24, dtype=torch.float64)]
    expected = oracle.vpt_deep(plain, IMAGES, zeros)[:, :1]
    torch.testing.assert_close(tokens_of(method), expected, rtol=1e-9, atol=1e-9)
    only_first = [method.prompts, *torch.zeros(2, 0, 24, dtype=torch.float64)]
    without = oracle.vpt_deep(plain, IMAGES, only_first)[:, :1]
    assert not torch.allclose(tokens_of(method), without, atol=1e-3)


def test_the_first_step_moves_the_first_prompts_and_the_maps_over_positions(
    plain: VisionTransformer,
):
    method = make(plain, moved=False).train()
    tokens_of(method).square().sum().backward()
    moved = {
        name
        for name, p in method.named_parameters()
        if p.grad is not None and p.grad.abs().max() > 1e-9
    }
    assert moved == {"prompts", "projectors.0.weight", "projectors.1.weight"}
    method = make(plain).train()
    tokens_of(method).square().sum().backward()
    for p in method.parameters():
        if p.requires_grad:
            assert p.grad is not None
            assert p.grad.abs().sum() > 0


def test_a_kernel_is_drawn_from_a_normal_and_a_bottleneck_has_no_biases(plain: VisionTransformer):
    method = make(plain, moved=False, kernel=4)
    projectors: Any = method.projectors
    kernels = torch.cat([one.kernel.flatten() for one in projectors])
    assert kernels.std().item() == pytest.approx(1, abs=0.3)
    assert all(one.norm.eps == 1e-5 for one in projectors)
    bound = math.sqrt(6 / (3 * 4 * 4 + 24))
    assert method.prompts.abs().max() <= bound
    assert [name for name, _ in method.bottleneck.named_parameters()] == ["0.weight", "3.weight"]


def test_channels_are_dropped_whole_and_only_in_training(plain: VisionTransformer):
    method = make(plain)
    projector: Any = method.projectors[0]
    image = torch.randn(50, 16, 24, dtype=torch.float64)
    kept = projector(image)
    assert torch.equal(kept, projector(image))
    projector.train()
    dropped = (projector(image) - projector.bias[:, None]) / (kept - projector.bias[:, None])
    assert torch.allclose(dropped, dropped[:, :1])
    share = (dropped[:, 0].abs() < 1e-9).double().mean().item()
    assert share == pytest.approx(0.1, abs=0.03)
    assert dropped.max().item() == pytest.approx(1 / 0.9)


def test_registers_are_no_image(plain: VisionTransformer):
    method = make(build("registers"))
    tokens = torch.randn(2, 1 + 3 + 16, 24, dtype=torch.float64)
    other = tokens.clone()
    other[:, :4] = 0
    assert torch.equal(method.made(1, tokens), method.made(1, other))
    other[:, 4] = 0
    assert not torch.equal(method.made(1, tokens), method.made(1, other))


def test_the_grid_is_the_backbones_at_its_size(plain: VisionTransformer):
    method = VAPT(FrozenViT(plain).at(32), prompts=2, kernel=3)
    assert method.projectors[0].weight.shape == (2, 36)


@pytest.mark.parametrize("arguments", [{"kernel": 5}, {"kernel": 0}, {"hidden": 0}])
def test_what_makes_no_sense_is_refused(plain: VisionTransformer, arguments: dict):
    with pytest.raises(
        ValueError, match=r"vapt's hidden is at least 1, and its kernel from 1 to 4"
    ):
        make(plain, **arguments)
