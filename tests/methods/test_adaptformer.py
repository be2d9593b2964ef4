"""adaptformer and adapter-parallel: counts, and the equations token by token, by timm's own
parts."""

from typing import Any

import pytest
import torch
from architectures import build
from bottlenecks import IMAGES, bottleneck, count, gelu, made, relu, same
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from harness.backbones.frozen import Read
from harness.backbones.vit import FrozenViT
from methods.adaptformer import AdaptFormer


def slow(vit: VisionTransformer, method: Any) -> Tensor:
    """All rows behind the last block."""
    x = vit.norm_pre(vit._pos_embed(vit.patch_embed(IMAGES)))
    block: Any
    for block, net in zip(vit.blocks, method.nets, strict=True):
        x = x + block.ls1(block.attn(block.norm1(x)))
        seen = block.norm2(x) if method.normed else x
        act = relu if isinstance(method, AdaptFormer) else gelu
        x = x + block.ls2(block.mlp(block.norm2(x))) + bottleneck(net, seen, act)
    return x


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("adaptformer", 1_189_632),
        ("adaptformer(bottleneck=8)", 156_768),
        ("adaptformer(bottleneck=32)", 599_424),
        ("adapter-parallel", 156_768),
    ],
)
def test_parameter_counts_on_vit_b16(label: str, expected: int):
    assert count(label) == expected


@pytest.mark.parametrize(
    "label",
    [
        "adaptformer(bottleneck=3,scale=0.5)",
        "adaptformer(bottleneck=3,scale=0.5,form=paper)",
        "adapter-parallel(bottleneck=3,scale=2.0)",
    ],
)
@pytest.mark.parametrize("backbone", ["registers", "average", "plain"])
def test_they_equal_the_slow_form_in_values_and_gradients(backbone: str, label: str):
    vit = build(backbone)
    method = made(vit, label).eval()
    same(method, slow(vit, method))


def test_adaptformer_starts_at_the_backbone(plain: VisionTransformer):
    method = made(plain, "adaptformer", noise=0.0)
    (found,) = method(IMAGES, Read((2,), "cls"))
    tokens = plain.blocks(plain._pos_embed(plain.patch_embed(IMAGES)))
    torch.testing.assert_close(found, tokens[:, :1], rtol=1e-12, atol=1e-12)
    down = method.nets[0].down.weight
    assert 0.98 / 24**0.5 < down.abs().max() <= 1 / 24**0.5
    assert not method.nets[0].down.bias.any()


@pytest.mark.parametrize("form", ["released", "paper"])
def test_a_tenth_of_the_hidden_values_is_dropped_in_training(plain: VisionTransformer, form: str):
    """Block by block, behind the ReLU, by torch's dropout."""
    method = made(plain, f"adaptformer(bottleneck=3,scale=0.5,form={form})").train()
    torch.manual_seed(3)
    (found,) = method(IMAGES, Read((2,), "image"))
    torch.manual_seed(3)
    tokens = plain._pos_embed(plain.patch_embed(IMAGES))
    block: Any
    for index, (block, net) in enumerate(zip(plain.blocks, method.nets, strict=True)):
        stream = tokens + block.attn(block.norm1(tokens))
        if index == 2:
            stream = stream[:, 1:]
        seen = stream if form == "released" else block.norm2(stream)
        hidden = nn.functional.dropout(relu(seen @ net.down.weight.T + net.down.bias), 0.1)
        up = hidden @ net.up.weight.T + net.up.bias
        tokens = stream + block.mlp(block.norm2(stream)) + 0.5 * up
    torch.testing.assert_close(found, tokens, rtol=1e-9, atol=1e-9)


def test_drop_path_is_not_on_the_branch(plain: VisionTransformer):
    method, stream = (
        made(plain, "adaptformer(bottleneck=3)").eval(),
        torch.randn(2, 17, 24).double(),
    )
    block: Any = method.vit.vit.blocks[0]
    block.drop_path1, block.drop_path2 = nn.Dropout(1.0), nn.Dropout(1.0)
    added = method.block(0, stream, slice(None)) - stream
    torch.testing.assert_close(
        added, bottleneck(method.nets[0], stream, relu), rtol=1e-9, atol=1e-9
    )


@pytest.mark.usefixtures("unchecked")
def test_adaptformer_has_two_forms(plain: VisionTransformer):
    with pytest.raises(ValueError, match="form is one of released, paper"):
        AdaptFormer(FrozenViT(plain), form="before")  # type: ignore[arg-type]
