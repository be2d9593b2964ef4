"""Res-Tuning: both forms by hand; the bypass passes nothing backward through the backbone."""

import copy
from typing import Any, Literal

import oracle
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn.functional import gelu
from tuned import IMAGES, check_equal_to_form, features, randomise

from harness.backbones.frozen import Read
from harness.backbones.vit import FrozenViT
from harness.errors import BadInput
from harness.planning.variants import parse
from harness.training.flops import kept_bytes
from harness.training.method import trained_values
from methods.res_tuning import ResTuning

Form = Literal["parallel", "bypass"]


def make(vit: VisionTransformer, form: Form) -> ResTuning:
    torch.manual_seed(0)
    method = ResTuning(FrozenViT(copy.deepcopy(vit)), bottleneck=5, form=form).double()
    randomise(method, 0.2)
    return method


@pytest.mark.parametrize(("form", "expected"), [("parallel", 552_960), ("bypass", 387_312)])
def test_parameter_counts_on_vit_b16(form: Form, expected: int):
    with torch.device("meta"):
        method = ResTuning(FrozenViT(VisionTransformer(num_classes=0)), form=form)
    assert trained_values(method) == (expected, 0)


def tuned(own: Any, rows: Tensor) -> Tensor:
    hidden = rows @ own.down.weight.T
    hidden = gelu(hidden if own.down.bias is None else hidden + own.down.bias)
    out = hidden @ own.up.weight.T
    return out if own.up.bias is None else out + own.up.bias


@pytest.mark.parametrize("form", ["parallel", "bypass"])
def test_features_and_gradients_equal_the_equations(plain: VisionTransformer, form: Form):
    method = make(plain, form)
    tokens: Any = plain._pos_embed(plain.patch_embed(IMAGES))
    side, block = tokens, Any
    for index, block in enumerate(plain.blocks):
        owns: Any = method.tuners[index]
        if form == "bypass":
            tokens, _ = oracle.block(block, tokens)
            side = tokens + tuned(owns[0], tokens) + side + tuned(owns[1], side)
            continue
        attention, _ = oracle.block(without_mlp(block), tokens)
        x = attention + tuned(owns[0], block.norm1(tokens))
        normed = block.norm2(x)
        tokens = x + block.mlp(normed) + tuned(owns[1], normed) + tuned(owns[2], tokens)
        side = tokens
    theirs: Any = plain.norm(side[:, 0])
    check_equal_to_form(method, features(method), theirs, least=1e-9)


def without_mlp(block: Any) -> Any:
    """A block whose second half adds nothing."""
    idle = copy.deepcopy(block)
    for parameter in idle.mlp.fc2.parameters():
        parameter.data.zero_()
    return idle


def test_the_parallel_form_starts_at_the_backbone(vit: VisionTransformer):
    pooling = "cls" if vit.global_pool == "token" else "avg"
    method = ResTuning(FrozenViT(copy.deepcopy(vit), pooling)).double()
    torch.testing.assert_close(features(method), vit(IMAGES), rtol=1e-9, atol=1e-9)


def test_the_bypass_keeps_the_heads_rows_alone_and_no_activation_of_the_backbone(
    plain: VisionTransformer,
):
    method = make(plain, "bypass")
    kept = kept_bytes(lambda: features(method), method.parameters())
    rows = 3 * 8  # images, of 8 bytes a value; inputs, hidden values before and behind GELU
    assert kept <= rows * (3 * 2 * (24 + 2 * 5) + 2 * 24 + 4)
    beside = make(plain, "parallel")
    assert kept < kept_bytes(lambda: features(beside), beside.parameters()) / 40


def test_the_bypass_gives_rows_of_each_block_that_is_read(plain: VisionTransformer):
    method = make(plain, "bypass")
    some, last = method(IMAGES, Read((0, 2), "image"))
    assert some.shape == last.shape == (3, 16, 24)
    (alone,) = method(IMAGES, Read((0,), "image"))
    torch.testing.assert_close(alone, some)


def test_another_form_is_refused_by_name():
    with pytest.raises(BadInput, match="res-tuning's form is one of parallel, bypass"):
        parse("res-tuning(form=side)")
