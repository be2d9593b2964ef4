"""RepAdapter: counts on ViT-B/16, and the paper's equation by loops in float64."""

import copy
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from tuned import IMAGES, features, randomise, trainable

from harness.backbones.vit import FrozenViT
from methods.linear import Linear
from methods.repadapter import RepAdapter


def test_parameter_counts_on_vit_b16():
    """The paper's 0.22 M are those without biases."""
    with torch.device("meta"):
        built = RepAdapter(FrozenViT(VisionTransformer(num_classes=0)))
        half = RepAdapter(FrozenViT(VisionTransformer(num_classes=0)), form="attn")
    counts = {name: p.numel() for name, p in trainable(built).items()}
    assert sum(counts.values()) == 239_808
    assert sum(n for name, n in counts.items() if not name.endswith("bias")) == 221_184
    assert sum(p.numel() for p in trainable(half).values()) == 119_904


def adapted(adapter: Any, normed: Tensor) -> Tensor:
    """x + 0.7 (B (A x + a) + b), group by group and row by row."""
    hidden = normed @ adapter.down.weight.T + adapter.down.bias
    columns = []
    for output in range(24):
        group, place = divmod(output, 12)
        column = adapter.bias[output]
        for i in range(2):
            column = column + hidden[..., 2 * group + i] * adapter.up[group, place, i]
        columns.append(column)
    return normed + 0.7 * torch.stack(columns, dim=-1)


@pytest.mark.parametrize("form", ["block", "attn"])
def test_an_adapter_stands_behind_each_norm(plain: VisionTransformer, form: Any):
    method = RepAdapter(FrozenViT(copy.deepcopy(plain)), hidden=4, scale=0.7, form=form).double()
    randomise(method.eval())
    tokens = plain._pos_embed(plain.patch_embed(IMAGES))
    block: Any
    tuned: Any
    for tuned, block in zip(method.vit.vit.blocks, plain.blocks, strict=True):
        tokens = tokens + block.attn(adapted(tuned.norm1, block.norm1(tokens)))
        normed = block.norm2(tokens)
        tokens = tokens + block.mlp(adapted(tuned.norm2, normed) if form == "block" else normed)
    expected, ours = plain.norm(tokens)[:, 0], features(method)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)
    given, parameters = torch.randn_like(ours), list(trainable(method).values())
    for one, other in zip(
        torch.autograd.grad((ours * given).sum(), parameters),
        torch.autograd.grad((expected * given).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_it_starts_at_the_backbone_and_drops_in_training(plain: VisionTransformer):
    method = RepAdapter(FrozenViT(copy.deepcopy(plain))).double().train()
    torch.testing.assert_close(
        features(method), features(Linear(FrozenViT(plain))), rtol=1e-9, atol=1e-9
    )
    randomise(method)
    assert not torch.equal(features(method), features(method))
    assert torch.equal(features(method.eval()), features(method))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": 3}, "hidden=3 and the width 24 must be multiples of groups=2"),
        ({"hidden": 0}, "from 1 on"),
        ({"form": "both"}, "form is one of block, attn"),
    ],
)
def test_arguments_that_make_no_sense(
    plain: VisionTransformer, arguments: dict[str, Any], message: str
):
    with pytest.raises(ValueError, match=message):
        RepAdapter(FrozenViT(plain), **arguments)
