"""DTL: its equations by hand, and how far down a backward pass goes."""

import copy
from typing import Any

import oracle
import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from tuned import IMAGES, check_equal_to_form

from harness.backbones.frozen import Read
from harness.backbones.vit import FrozenViT
from harness.training.flops import kept_bytes, step_flops
from harness.training.heads import LinearHead, Model
from harness.training.kinds import kind_of
from harness.training.method import Method, trained_values
from methods.dtl import DTL
from methods.full import Full
from methods.linear import Linear


def make(vit: VisionTransformer, **arguments: Any) -> DTL:
    torch.manual_seed(0)
    method = DTL(FrozenViT(vit), **arguments).double()
    with torch.no_grad():
        method.up.normal_(std=0.2)
    return method


def features(method: Method) -> Tensor:
    (tokens,) = method(IMAGES, method.vit.read())
    return method.pool(tokens)


@pytest.mark.parametrize(("plus", "expected"), [(False, 36_864), (True, 36_864 + 6_912)])
def test_parameter_counts_on_vit_b16(plus: bool, expected: int):
    with torch.device("meta"):
        method = DTL(FrozenViT(VisionTransformer(num_classes=0)), plus=plus)
    assert trained_values(method) == (expected, 0)
    assert method.first == 6


@pytest.mark.parametrize("plus", [False, True])
def test_features_and_gradients_equal_the_equations(plain: VisionTransformer, plus: bool):
    """Image by image; the convolution as sums over neighbours."""
    method = make(plain, plus=plus, first=1)
    tokens: Any = plain._pos_embed(plain.patch_embed(IMAGES))
    h: Any = torch.zeros_like(tokens)
    for index, block in enumerate(plain.blocks):
        h = h + (tokens @ method.down[index].T) @ method.up[index].T
        tokens, _ = oracle.block(block, tokens)
        if index >= 1:
            theta = h / (1 + torch.exp(-100.0 * h))
            if method.mix is not None:
                grid, kernel = theta[:, 1:].reshape(3, 4, 4, 24), method.mix.weight[:, 0]
                mixed = torch.zeros_like(grid)
                for y in range(4):
                    for x in range(4):
                        for dy in (-1, 0, 1):
                            for dx in (-1, 0, 1):
                                if 0 <= y + dy < 4 and 0 <= x + dx < 4:
                                    seen = grid[:, y + dy, x + dx] * kernel[:, 1 + dy, 1 + dx]
                                    mixed[:, y, x] = mixed[:, y, x] + seen
                theta = torch.cat([theta[:, :1], mixed.reshape(3, 16, 24)], 1)
            tokens = tokens + theta
    theirs: Any = plain.norm(tokens[:, 1:].mean(1))
    check_equal_to_form(method, features(method), theirs)


def test_training_starts_at_the_mean_of_the_frozen_models_tokens(vit: VisionTransformer):
    pooling = "cls" if vit.global_pool == "token" else "avg"
    method = DTL(FrozenViT(copy.deepcopy(vit), pooling), plus=True).double()
    tokens = vit.forward_features(IMAGES)  # with the norm behind, which isn't linear
    rows: list[Tensor] = []
    vit.norm.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0]))
    vit(IMAGES)
    mean = rows[0][:, vit.num_prefix_tokens :].mean(1, keepdim=True)
    expected: Any = (
        vit.fc_norm(vit.norm(mean)[:, 0])
        if pooling == "cls"
        else vit.fc_norm(tokens[:, vit.num_prefix_tokens :].mean(1))
    )
    torch.testing.assert_close(features(method), expected, rtol=1e-9, atol=1e-9)


def test_rows_for_segmentation_are_image_tokens_of_each_block(plain: VisionTransformer):
    method = make(plain, plus=True)
    found = method(IMAGES, Read((0, 1, 2), "image"))
    assert [tuple(tokens.shape) for tokens in found] == [(3, 16, 24)] * 3
    method.up.data.zero_()
    frozen = method.vit.run(method.vit.embed(IMAGES), Read((0, 1, 2), "image"))
    torch.testing.assert_close(method(IMAGES, Read((0, 1, 2), "image")), frozen)


def test_nothing_up_to_the_first_changed_block_is_passed_backward_or_kept(
    plain: VisionTransformer,
):
    method = make(plain, first=1)
    outputs: list[bool] = []
    real = method.vit.block

    def watched(index: int, *given: Any, **more: Any) -> Tensor:
        kept: list[Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor
        ):
            out = real(index, *given, **more)
        assert bool(kept) == out.requires_grad == (index > 1), index
        outputs.append(out.requires_grad)
        return out

    method.vit.block = watched  # type: ignore[method-assign]
    features(method).sum().backward()
    assert outputs == [False, False, True]
    assert all(p.grad is None for p in method.vit.vit.parameters())
    assert all(p.grad is not None for p in (method.down, method.up))


def test_a_step_costs_half_of_fine_tunings_backward_pass():
    """On ViT-B/16, an image: forward 35.1 GFLOP, and backward through the five upper blocks."""
    with torch.device("meta"):
        costs = [
            step_flops(
                kind_of("classification"),
                Model(built, LinearHead(built, 100)),
                224,
                64,
                torch.device("meta"),
            )
            / 1e9
            for built in (
                method(FrozenViT(VisionTransformer(num_classes=0)))
                for method in (DTL, Linear, Full)
            )
        ]
    assert costs == pytest.approx([50.28, 32.70, 97.86], abs=0.01)


def test_less_is_kept_the_later_it_begins(plain: VisionTransformer):
    kept = []
    for first in (0, 1, 2):
        method = make(plain, first=first)
        kept.append(kept_bytes(lambda method=method: features(method), method.parameters()))
    assert kept[0] > kept[1] > kept[2]


@pytest.mark.usefixtures("unchecked")
def test_the_first_changed_block_is_one_of_the_backbones(plain: VisionTransformer):
    with pytest.raises(ValueError, match="dtl: first=3, and the blocks are 0 to 2"):
        DTL(FrozenViT(plain), first=3)


def test_theta_is_nearly_a_relu(plain: VisionTransformer):
    side = torch.linspace(-2, 2, 101).double().expand(1, 17, -1)
    torch.testing.assert_close(make(plain).added(side), F.relu(side), rtol=0, atol=3e-3)
