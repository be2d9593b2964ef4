"""Tiny members of every family of backbones, with random weights; and timm's own blocks with
prompts concatenated behind the image, the slow form that a family's forward is held to."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from timm.layers.norm import RmsNorm
from timm.models.beit import Beit
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from harness.backbones import families
from harness.backbones.frozen import FrozenBackbone

SHAPE: dict[str, Any] = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 2,
    "num_classes": 0,
}
ROTARY: dict[str, Any] = {"use_rot_pos_emb": True, "rope_grid_indexing": "xy"}


def _made(kind: Callable[..., nn.Module], **more: Any) -> Callable[..., nn.Module]:
    def make(**other: Any) -> nn.Module:
        heads = {"num_heads": 3} if kind is Eva else {}  # a rotation needs pairs of pairs a head
        return kind(**{**SHAPE, **heads, **more, **other})

    return make


TINY: dict[str, Callable[..., nn.Module]] = {
    "plain": _made(VisionTransformer),
    "gap": _made(VisionTransformer, class_token=False, global_pool="avg"),
    "siglip": _made(VisionTransformer, class_token=False, global_pool="map"),
    "map of registers": _made(
        VisionTransformer,
        class_token=False,
        reg_tokens=1,
        global_pool="map",
        pool_include_prefix=True,
        init_values=0.5,
    ),
    "aimv2": _made(
        VisionTransformer,
        class_token=False,
        global_pool="avg",
        qkv_bias=False,
        proj_bias=False,
        norm_layer=RmsNorm,
    ),
    "distilled": _made(VisionTransformerDistilled),
    "dinov3": _made(
        Eva,
        qkv_bias=False,
        num_reg_tokens=2,
        init_values=0.5,
        rope_type="dinov3",
        use_abs_pos_emb=False,
        rope_rotate_half=True,
        use_fc_norm=False,
        **{**ROTARY, "rope_grid_indexing": "ij"},
    ),
    "eva-02": _made(
        Eva, qkv_fused=False, swiglu_mlp=True, scale_mlp=True, ref_feat_shape=(4, 4), **ROTARY
    ),
    "eva-02 clip": _made(Eva, global_pool="token", scale_attn_inner=True, **ROTARY),
    "perception encoder": _made(
        Eva, global_pool="map", attn_type="rope", use_pre_transformer_norm=True, **ROTARY
    ),
    "mixed rope": _made(
        Eva, global_pool="token", attn_type="rope", rope_type="mixed", init_values=0.5, **ROTARY
    ),
    "eva": _made(Eva),
    "beit": _made(Beit, use_shared_rel_pos_bias=True, global_pool="token", init_values=0.5),
    "beit v2": _made(Beit, use_rel_pos_bias=True, use_abs_pos_emb=False),
}


def timm_model(name: str, **other: Any) -> Any:
    """With all weights drawn, those that start at zero or one too."""
    torch.manual_seed(0)
    vit = TINY[name](**other).eval()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return vit


def tiny(name: str, **other: Any) -> FrozenBackbone:
    frozen = families.frozen(timm_model(name, **other))
    frozen.name = name
    return frozen


def features(vit: FrozenBackbone, images: Tensor, deep: Any = None, first: Any = None) -> Tensor:
    """As a method makes them, of the rows that a head reads: with prompts that are new at each
    block, and some that travel from the first on."""
    tokens = vit.embed(images)
    if first is not None:
        tokens = torch.cat([tokens, first.expand(len(images), -1, -1)], dim=1)
    return vit.pool(vit.run(tokens, vit.read(), None if deep is None else list(deep))[-1])


def slow_features(
    frozen: FrozenBackbone, images: Tensor, deep: Any, first: Tensor | None
) -> Tensor:
    """Features where prompts stand behind the image in timm's own blocks: new ones at each block,
    and some that travel from the first on; rotated by nothing, and without a bias."""
    vit = copy.deepcopy(frozen.vit)
    vit.requires_grad_(False)
    tokens, given = _first_tokens(vit, images)
    own = tokens.shape[1]
    if first is not None:
        tokens = torch.cat([tokens, first.expand(len(images), -1, -1)], dim=1)
    for index, block in enumerate(vit.blocks):
        entered = tokens.shape[1]
        if deep is not None:
            tokens = torch.cat([tokens, deep[index].expand(len(images), -1, -1)], dim=1)
        more = tokens.shape[1] - own
        tokens = block(tokens, **given(index, block, more))[:, :entered]
    return vit.forward_head(vit.norm(tokens[:, :own]), pre_logits=True)


def _first_tokens(model: Any, images: Tensor) -> tuple[Tensor, Callable[[int, Any, int], dict]]:
    patches, vit = model.patch_embed(images), model
    if isinstance(vit, Eva):
        tokens, rope = vit._pos_embed(patches)
        if rope is None:
            return vit.norm_pre(tokens), lambda index, block, more: {}

        def rotated(index: int, block: Any, more: int) -> dict:
            image = rope[index] if vit.rope_mixed else rope
            still = image.new_zeros(*image.shape[:-2], more, image.shape[-1])
            still[..., image.shape[-1] // 2 :] = 1
            return {"rope": torch.cat([image, still], dim=-2)}

        return vit.norm_pre(tokens), rotated
    if isinstance(vit, Beit):
        tokens = torch.cat([vit.cls_token.expand(len(images), -1, -1), patches], dim=1)
        tokens = tokens if vit.pos_embed is None else tokens + vit.pos_embed

        def biased(index: int, block: Any, more: int) -> dict:
            if block.attn.relative_position_bias_table is not None:
                bias = block.attn._get_rel_pos_bias()
                block.attn.relative_position_bias_table = None  # given as the shared one is
            else:
                bias = model.rel_pos_bias()[None]
            wide = bias.new_zeros(1, bias.shape[1], bias.shape[2] + more, bias.shape[3] + more)
            wide[:, :, : bias.shape[2], : bias.shape[3]] = bias
            return {"shared_rel_pos_bias": wide}

        return tokens, biased
    return vit.norm_pre(vit._pos_embed(patches)), lambda index, block, more: {}
