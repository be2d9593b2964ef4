"""houlsby, pfeiffer, adapter-plus: counts, and the equations by timm's own parts, by token."""

from typing import Any

import pytest
import torch
from architectures import build
from bottlenecks import IMAGES, bottleneck, count, gelu, made, same
from segmentation import seg
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from harness.backbones.frozen import Read
from harness.backbones.vit import FrozenViT
from harness.errors import BadInput
from harness.planning.plan import plan
from harness.planning.variants import parse
from methods.adapter import AdapterPlus, Houlsby, Pfeiffer

__all__ = ["seg"]
NORMS = 25 * 2 * 768
WB = ("weight", "bias")


def slow(vit: VisionTransformer, method: Any) -> Tensor:
    """All rows behind the last block."""
    x = vit.norm_pre(vit._pos_embed(vit.patch_embed(IMAGES)))
    block: Any
    for index, block in enumerate(vit.blocks):
        tuned = method.vit.vit.blocks[index]
        y = block.ls1(block.attn(block.norm1(x)))
        x = x + (
            y + bottleneck(tuned.drop_path1.net, y, gelu) if isinstance(method, Houlsby) else y
        )
        y = block.ls2(block.mlp(block.norm2(x)))
        x = x + (y if len(method.nets) else y + bottleneck(tuned.drop_path2.net, y, gelu))
        if isinstance(method, Pfeiffer) and len(method.nets):
            pair: Any = method.nets[index]
            norm, net = pair
            centred = x - x.mean(-1, keepdim=True)
            normed = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
            x = x + bottleneck(net, normed * norm.weight + norm.bias, gelu)
        if isinstance(method, AdapterPlus):
            x = x + bottleneck(method.nets[index], x, gelu)
    return x


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("houlsby", 313_536),
        ("houlsby(norms=true)", 313_536 + NORMS),
        ("pfeiffer", 156_768),
        ("pfeiffer(normed=true)", 156_768 + 24 * 768),
        ("adapter-plus", 165_984),
        ("adapter-plus(bottleneck=16)", 313_536),
    ],
)
def test_parameter_counts_on_vit_b16(label: str, expected: int):
    assert count(label) == expected


@pytest.mark.parametrize(
    "label",
    [
        "houlsby(bottleneck=3,scale=0.5)",
        "pfeiffer(bottleneck=3,scale=2.0)",
        "pfeiffer(bottleneck=3,scale=0.5,normed=true)",
        "adapter-plus(bottleneck=3)",
    ],
)
@pytest.mark.parametrize("backbone", ["registers", "average", "plain"])
def test_they_equal_the_slow_form_in_values_and_gradients(backbone: str, label: str):
    vit = build(backbone)
    method = made(vit, label).eval()
    same(method, slow(vit, method))


@pytest.mark.parametrize("name", ["houlsby", "pfeiffer", "pfeiffer(normed=true)", "adapter-plus"])
def test_they_start_close_to_the_backbone_and_not_at_it(plain: VisionTransformer, name: str):
    method = made(plain, name, noise=0.0).eval()
    (found,) = method(IMAGES, Read((2,), "cls"))
    away = (found - slow_backbone(plain)).abs().max()
    assert 0 < away < 0.02
    nets = [module for module in method.modules() if hasattr(module, "down")]
    weights = torch.cat([part.weight.flatten() for net in nets for part in (net.down, net.up)])
    assert weights.abs().max() <= 0.02
    assert weights.std().item() == pytest.approx(0.0088, rel=0.1)
    assert all(not (net.down.bias.any() or net.up.bias.any()) for net in nets)


def slow_backbone(vit: VisionTransformer) -> Tensor:
    return vit.blocks(vit._pos_embed(vit.patch_embed(IMAGES)))[:, :1]


def test_houlsbys_norms_are_the_backbones(plain: VisionTransformer):
    method = Houlsby(FrozenViT(plain), norms=True)
    names = {name for name, p in method.named_parameters() if p.requires_grad and "norm" in name}
    ends = {"norm1", "norm2"}
    assert names == {
        *(f"vit.vit.blocks.{i}.{end}.{one}" for i in range(3) for end in ends for one in WB),
        *(f"vit.vit.norm.{one}" for one in WB),
    }


def test_adapter_plus_drops_its_branch_for_whole_images(plain: VisionTransformer):
    method = made(plain, "adapter-plus(bottleneck=3,drop_path=0.5)")
    net = method.nets[0]
    tokens = torch.randn(64, 5, 24, dtype=torch.float64)
    kept = net.eval()(tokens)
    dropped = net.train()(tokens)
    gone = dropped.abs().amax((1, 2)) == 0
    assert 16 < int(gone.sum()) < 48
    torch.testing.assert_close(dropped[~gone], 2 * kept[~gone], rtol=1e-12, atol=1e-12)


def test_dropout_is_of_hidden_values_in_training(plain: VisionTransformer):
    method = made(plain, "houlsby(bottleneck=3,dropout=0.5)")
    net, tokens = (
        method.vit.vit.blocks[0].drop_path1.net,
        torch.randn(1, 40, 24, dtype=torch.float64),
    )
    assert net.train().dropout.training
    assert not torch.allclose(net(tokens), net(tokens))
    assert torch.equal(net.eval()(tokens), net(tokens))
    assert not method.eval().vit.vit.blocks[0].drop_path1.net.dropout.training


def test_weight_decay_spares_adapter_pluss_scales():
    assert AdapterPlus.optimizer["no_decay"] == "vectors"


def test_what_makes_no_sense_is_refused():
    with pytest.raises(BadInput, match="houlsby's bottleneck is at least 1"):
        parse("houlsby(bottleneck=0)")
    with pytest.raises(BadInput, match="'adapter' is called adaptformer now"):
        parse("adapter")


@pytest.mark.parametrize("name", ["houlsby", "adapter-plus"])
def test_they_segment(seg, name: str):
    (cell,) = plan(seg.request(name, "halves")).cells
    assert "bottleneck" in cell.space
