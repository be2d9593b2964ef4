"""VFPT: against a slow form whose transform is a sum of cosines, and what a real spectrum keeps."""

import math
from typing import Any

import oracle
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from harness.backbones.vit import FrozenViT
from methods.vfpt import VFPT
from methods.vpt import VPTDeep

IMAGES = torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def make(plain: VisionTransformer, **arguments) -> VFPT:
    torch.manual_seed(0)
    pooling = "cls" if plain.global_pool == "token" else "avg"
    return VFPT(FrozenViT(plain, pooling), **{"prompts": 5, "dropout": 0.0, **arguments}).double()


def tokens_of(method: Any, images: Tensor = IMAGES) -> Tensor:
    (tokens,) = method(images, method.vit.read())
    return tokens


def cosines(prompts: Tensor, hidden: bool = True, sequence: bool = True) -> Tensor:
    """The real part of the spectrum: at (u, v) the sum of p[s, h] cos(2 pi (u s / m + v h / d)),
    over one index alone where only that is transformed."""
    m, d = prompts.shape
    places = [torch.arange(size).double() for size in (m, d, m, d)]
    u, v, s, h = torch.meshgrid(*places, indexing="ij")
    table = (2 * math.pi * (sequence * u * s / m + hidden * v * h / d)).cos()
    if not sequence:
        table = table * (u == s)
    if not hidden:
        table = table * (v == h)
    return torch.einsum("uvsh,sh->uv", table, prompts)


def test_parameter_counts_on_vit_b16():
    with torch.device("meta"):
        method = VFPT(FrozenViT(VisionTransformer(num_classes=0)), prompts=10)
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == 92_160


def test_it_equals_the_slow_form_on_every_backbone(vit: VisionTransformer):
    holds(vit, {}, 2)  # half of 5, rounded down


@pytest.mark.parametrize(
    ("arguments", "transformed"),
    [({"alpha": 1.0}, 5), ({"alpha": 0.7, "hidden": False}, 3), ({"sequence": False}, 2)],
    ids=str,
)
def test_it_equals_the_slow_form(plain: VisionTransformer, arguments: dict, transformed: int):
    holds(plain, arguments, transformed)


def holds(vit: VisionTransformer, arguments: dict, transformed: int) -> None:
    """In values and gradients."""
    method = make(vit, **arguments)
    axes = {name: arguments.get(name, True) for name in ("hidden", "sequence")}
    mixed = [
        torch.cat([cosines(own[:transformed], **axes), own[transformed:]]) for own in method.prompts
    ]
    expected = oracle.vpt_deep(vit, IMAGES, mixed)
    rows = expected[:, :1] if method.vit.pooling == "cls" else expected[:, vit.num_prefix_tokens :]
    tokens = tokens_of(method)
    torch.testing.assert_close(tokens, rows, rtol=1e-9, atol=1e-9)
    weights = torch.randn_like(rows)
    ours, theirs = (
        torch.autograd.grad((made * weights).sum(), method.prompts)[0] for made in (tokens, rows)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "arguments",
    [{"alpha": 0.0}, {"hidden": False, "sequence": False}, {"prompts": 1, "alpha": 0.9}],
    ids=str,
)
def test_without_a_transform_it_is_vpt_deep_to_the_bit(plain: VisionTransformer, arguments: dict):
    method = make(plain, **arguments)
    torch.manual_seed(0)
    deep = VPTDeep(FrozenViT(plain), prompts=arguments.get("prompts", 5), dropout=0.0).double()
    assert torch.equal(tokens_of(method), tokens_of(deep))
    assert not torch.equal(tokens_of(method), tokens_of(make(plain, alpha=1.0, prompts=1)))


def test_a_constant_prompt_is_all_in_channel_0(plain: VisionTransformer):
    made = make(plain, prompts=1, alpha=1.0).mixed(torch.ones(1, 24, dtype=torch.float64))
    expected = torch.zeros(1, 24, dtype=torch.float64)
    expected[0, 0] = 24
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-12)


def mirrored(rows: Tensor) -> Tensor:
    """x[-u, -v]."""
    return rows.flip(-2, -1).roll((1, 1), (-2, -1))


def test_spectra_are_even_and_so_are_their_gradients(plain: VisionTransformer):
    """So half of what is transformed has no effect: its odd half neither moves the result nor is
    moved."""
    method = make(plain, alpha=0.9)
    four = method.transformed
    made = method.mixed(method.prompts[0])[:four]
    torch.testing.assert_close(made, mirrored(made), rtol=0, atol=1e-12)
    tokens_of(method).square().sum().backward()
    assert method.prompts.grad is not None
    grad = method.prompts.grad
    torch.testing.assert_close(grad[:, :four], mirrored(grad[:, :four]), rtol=0, atol=1e-12)
    assert not torch.allclose(grad[:, 4:], mirrored(grad[:, 4:]))
    before = tokens_of(method)
    noise = torch.randn_like(method.prompts[:, :four])
    method.prompts.data[:, :four] += noise - mirrored(noise)
    torch.testing.assert_close(tokens_of(method), before, rtol=1e-9, atol=1e-9)


def test_about_half_the_values_have_an_effect(plain: VisionTransformer):
    for prompts, rank in ((1, 13), (4, 4 * 24 // 2 + 2)):  # entries that mirror themselves: 2 and 4
        method = make(plain, prompts=prompts, alpha=1.0)
        size = 24 * prompts
        basis = torch.eye(size, dtype=torch.float64).view(size, prompts, 24)
        assert torch.linalg.matrix_rank(method.mixed(basis).flatten(1)) == rank


def test_dropout_comes_before_the_transform(plain: VisionTransformer):
    method = make(plain, prompts=8, dropout=0.5).train()
    method.prompts.data.fill_(1.0)
    seen: list[Tensor] = []
    vit: Any = method.vit
    run = vit.run
    vit.run = lambda tokens, read, prompts: seen.extend(prompts) or run(tokens, read, prompts)
    tokens_of(method)
    (first, *_) = seen
    assert first.shape == (4, 8, 24)
    assert (first[:, :4] == 0).double().mean() < 0.1  # spread over all
    assert (first[:, 4:] == 0).double().mean() > 0.4
    assert not torch.equal(first[0], first[1])


def test_a_spectrum_is_of_full_precision_under_autocast(plain: VisionTransformer):
    method = make(plain).float()
    with torch.autocast("cpu", torch.bfloat16):
        assert method.mixed(method.prompts[0]).dtype == torch.float32
        tokens_of(method, IMAGES.float()).float().square().sum().backward()
    assert method.prompts.grad is not None
    assert method.prompts.grad.isfinite().all()


@pytest.mark.parametrize("alpha", [-0.1, 1.5])
def test_alpha_is_a_share(plain: VisionTransformer, alpha: float):
    with pytest.raises(ValueError, match="vfpt's alpha is a share of the prompts, from 0 to 1"):
        make(plain, alpha=alpha)
