"""convpass: counts, and its bypasses neighbour by neighbour, on square grids and others."""

import functools
from typing import Any

import pytest
import torch
from architectures import build
from bottlenecks import IMAGES, count, made, quick_gelu, same
from segmentation import seg
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from harness.backbones.frozen import Read
from harness.planning.plan import plan

__all__ = ["seg"]


def bypass(net: Any, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """All rows, in eval mode: image tokens see those around them, others themselves."""
    prefix, (down, across) = tokens.shape[1] - grid[0] * grid[1], grid
    hidden = quick_gelu(tokens @ net.down.weight.T + net.down.bias)
    kernel, mixed = net.conv.weight, []
    for row in range(tokens.shape[1]):
        out = net.conv.bias.expand(len(tokens), -1)
        y, x = divmod(row - prefix, across)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if row < prefix:
                    seen = hidden[:, row] if dy == dx == 0 else None
                elif 0 <= y + dy < down and 0 <= x + dx < across:
                    seen = hidden[:, prefix + (y + dy) * across + x + dx]
                else:
                    seen = None
                if seen is not None:
                    out = out + seen @ kernel[:, :, dy + 1, dx + 1].T
        mixed.append(quick_gelu(out))
    return net.scale * (torch.stack(mixed, 1) @ net.up.weight.T + net.up.bias)


def slow(vit: VisionTransformer, method: Any, images: Tensor = IMAGES) -> Tensor:
    """All rows behind the last block."""
    x = vit.norm_pre(vit._pos_embed(vit.patch_embed(images)))
    block: Any
    for index, block in enumerate(vit.blocks):
        z, net = block.norm1(x), method.beside_attention[index]
        x = x + block.ls1(block.attn(z)) + bypass(net, z, method.vit.grid)
        z = block.norm2(x)
        beside = bypass(method.beside_mlp[index], z, method.vit.grid) if method.beside_mlp else 0.0
        x = x + block.ls2(block.mlp(z)) + beside
    return x


def test_parameter_counts_on_vit_b16():
    assert count("convpass") == 327_552
    assert count("convpass(attention_only=true)") == 163_776


@pytest.mark.parametrize("label", ["scale=0.5", "scale=2.0,attention_only=true"])
@pytest.mark.parametrize("backbone", ["plain", "registers", "average-without-cls"])
def test_it_equals_the_slow_form_in_values_and_gradients(backbone: str, label: str):
    vit = build(backbone)
    method = made(vit, f"convpass(bottleneck=3,{label})").eval()
    same(method, slow(vit, method))


def test_a_grid_needn_t_be_square():
    torch.manual_seed(0)
    norm = functools.partial(nn.LayerNorm, eps=1e-6)
    sizes = dict(img_size=(8, 20), patch_size=4, embed_dim=24, depth=2, num_heads=2, num_classes=0)
    vit = VisionTransformer(**sizes, norm_layer=norm).double().eval()  # type: ignore[arg-type]
    method, images = made(vit, "convpass(bottleneck=3)").eval(), torch.randn(2, 3, 8, 20).double()
    assert method.vit.grid == (2, 5)
    (found,) = method(images, Read((1,), "image"))
    expected = slow(vit, method, images)[:, 1:]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("xavier", [False, True])
def test_it_starts_at_the_backbone(plain: VisionTransformer, xavier: bool):
    method = made(plain, f"convpass(xavier={xavier})".lower(), noise=0.0).eval()
    (found,) = method(IMAGES, Read((2,), "cls"))
    tokens = plain.blocks(plain._pos_embed(plain.patch_embed(IMAGES)))
    torch.testing.assert_close(found, tokens[:, :1], rtol=1e-12, atol=1e-12)
    net = method.beside_mlp[0]
    kernel = torch.zeros(8, 8, 3, 3).double()
    kernel[:, :, 1, 1] = torch.eye(8)
    assert torch.equal(net.conv.weight, kernel) != xavier
    if xavier:
        bound = (6 / (2 * 9 * 8)) ** 0.5
        assert 0.97 * bound < net.conv.weight.abs().max() <= bound
    bound = (6 / (24 + 8)) ** 0.5
    assert 0.97 * bound < net.down.weight.abs().max() <= bound
    assert all(not one.bias.any() for one in (net.down, net.conv, net.up))


def test_drop_path_drops_a_bypass_apart_and_dropout_acts_in_training(plain: VisionTransformer):
    method = made(plain, "convpass(bottleneck=3)")
    assert not torch.equal(
        method(IMAGES, Read((2,), "cls"))[0], method(IMAGES, Read((2,), "cls"))[0]
    )
    method.eval()
    for block in method.vit.vit.blocks:
        block.drop_path1 = block.drop_path2 = nn.Dropout(1.0)
    (tokens,) = method(IMAGES, Read((2,), "cls"))
    torch.testing.assert_close(tokens, plain._pos_embed(plain.patch_embed(IMAGES))[:, :1])


def test_it_classifies_and_segments(seg):
    for task in ("toy", "halves"):
        (cell,) = plan(seg.request("convpass", task)).cells
        assert {"scale", "xavier"} < set(cell.space)
