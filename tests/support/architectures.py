"""Small ViTs of each kind that people tune, in float64 with random weights."""

import functools
from typing import Any

import pytest
import torch
from timm.layers.norm import LayerNorm
from timm.models.vision_transformer import VisionTransformer

ARCHITECTURES = {
    "plain": {},
    "registers": {"reg_tokens": 3, "no_embed_class": True, "init_values": 0.1},
    "average": {"global_pool": "avg"},
    "average-without-cls": {"global_pool": "avg", "class_token": False},
    "pre-norm": {"pre_norm": True},
    "qk-norm": {"qk_norm": True},
    "no-qkv-bias": {"qkv_bias": False},
    "attention-norm": {"scale_attn_norm": True},
    "clip": {"pre_norm": True, "act_layer": "quick_gelu"},
    "dinov2": {"reg_tokens": 4, "init_values": 1e-5, "patch_size": 2, "no_embed_class": True},
    "huge": {"num_heads": 3, "mlp_ratio": 2.5},
    "unfused-attention": {},
}


def build(name: str) -> VisionTransformer:
    torch.manual_seed(0)
    small = dict(
        img_size=16,
        patch_size=4,
        embed_dim=24,
        depth=3,
        num_heads=2,
        num_classes=0,
        norm_layer=functools.partial(LayerNorm, eps=1e-6),
    )
    vit = VisionTransformer(**{**small, **ARCHITECTURES[name]}).double().eval()
    block: Any
    for block in vit.blocks:
        block.attn.fused_attn = name != "unfused-attention"
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return vit


@pytest.fixture(params=list(ARCHITECTURES))
def vit(request: pytest.FixtureRequest) -> VisionTransformer:
    """A small ViT of each kind that people tune, in float64 with random weights."""
    return build(request.param)


@pytest.fixture
def plain() -> VisionTransformer:
    return build("plain")
