"""The fast forward against the paper's form: same features, same gradients."""

from typing import Any, cast

import oracle
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from harness.backbones.frozen import Pooling, Read
from harness.backbones.vit import FrozenViT
from harness.errors import BadInput
from harness.training.heads import LinearHead, Model
from harness.training.method import Method
from methods.ivpt import IVPT
from methods.vpt import VPT, VPTDeep

IMAGES = torch.randn(5, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def frozen(vit: VisionTransformer) -> FrozenViT:
    return FrozenViT(vit, "cls" if vit.global_pool == "token" else "avg")


def gradients(loss: torch.Tensor, *tensors: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, tensors))


@pytest.mark.parametrize("count", [1, 10, 50])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_vpt_deep_equals_the_papers_form(vit: VisionTransformer, count: int, dropout: float):
    model: Any = (
        Model(method := VPTDeep(frozen(vit), prompts=count, dropout=dropout), LinearHead(method, 7))
        .double()
        .train()
    )
    prompts = model.method.prompts
    torch.manual_seed(3)
    logits = model(IMAGES)
    torch.manual_seed(3)
    dropped = [
        nn.functional.dropout(p.expand(5, -1, -1), dropout) if dropout else p for p in prompts
    ]
    expected = model.head.linear(oracle.pooled(vit, oracle.vpt_deep(vit, IMAGES, dropped)))
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    weights = torch.randn_like(logits)
    tensors = (prompts, model.head.linear.weight, model.head.linear.bias)
    for ours, theirs in zip(
        gradients((logits * weights).sum(), *tensors),
        gradients((expected * weights).sum(), *tensors),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("count", [1, 10])
def test_vpt_shallow_equals_the_papers_form(vit: VisionTransformer, count: int):
    model: Any = (
        Model(method := VPT(frozen(vit), prompts=count), LinearHead(method, 7)).double().train()
    )
    logits = model(IMAGES)
    expected = model.head.linear(
        oracle.pooled(vit, oracle.vpt_shallow(vit, IMAGES, model.method.prompts))
    )
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    (ours,), (theirs,) = (
        gradients(logits.square().sum(), model.method.prompts),
        gradients(expected.square().sum(), model.method.prompts),
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_head_may_read_image_tokens_of_several_blocks(vit: VisionTransformer):
    method = VPTDeep(frozen(vit), prompts=4, dropout=0.0).double()
    first, last = method(IMAGES, Read((0, 2), "image"))
    tokens = oracle.vpt_deep(vit, IMAGES, list(method.prompts))
    torch.testing.assert_close(last, tokens[:, vit.num_prefix_tokens :], rtol=1e-9, atol=1e-9)
    vit.blocks = vit.blocks[:1]
    tokens = oracle.vpt_deep(vit, IMAGES, list(method.prompts[:1]))
    torch.testing.assert_close(first, tokens[:, vit.num_prefix_tokens :], rtol=1e-9, atol=1e-9)


def test_saliency_is_the_softmax_of_cls_over_all_keys_prompts_included(plain: VisionTransformer):
    vit, prompts = FrozenViT(plain), torch.randn(3, 24, dtype=torch.float64)
    tokens = vit.embed(IMAGES)
    _, saliency = vit.block_and_saliency(0, tokens, prompts)
    block: Any = plain.blocks[0]
    joined = block.norm1(torch.cat([tokens, prompts.expand(5, -1, -1)], dim=1))
    q, k, _ = block.attn.qkv(joined).reshape(5, -1, 3, 2, 12).permute(2, 0, 3, 1, 4)
    expected = (q[:, :, :1] @ k.transpose(2, 3) / 12**0.5).softmax(-1).mean(1)[:, 0, 1:17]
    torch.testing.assert_close(saliency, expected, rtol=1e-9, atol=1e-9)
    assert (saliency.sum(1) < 1).all()


def test_the_backbone_is_frozen_and_stays_in_eval_mode(plain: VisionTransformer):
    model = Model(VPTDeep(FrozenViT(plain)), LinearHead(Method(FrozenViT(plain)), 3)).train()
    assert not plain.training
    assert not any(p.requires_grad for p in plain.parameters())
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        "method.prompts",
        "head.linear.weight",
        "head.linear.bias",
    }


@pytest.mark.parametrize("count", [1, 10, 50])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_mae_is_pooled_as_by_vpts_code(plain: VisionTransformer, count: int, dropout: float):
    """The mean of image tokens and of what the last block makes of the prompts, then a layer norm
    that has no weights."""

    def pooled(tokens: torch.Tensor) -> torch.Tensor:
        total = torch.zeros_like(tokens[:, 0])
        for row in range(1, tokens.shape[1]):
            total = total + tokens[:, row]
        mean = total / (tokens.shape[1] - 1)
        centred = mean - mean.mean(1, keepdim=True)
        return centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()

    vit = FrozenViT(plain, "vpt-mae")
    deep: Any = (
        Model(method := VPTDeep(vit, prompts=count, dropout=dropout), LinearHead(method, 7))
        .double()
        .train()
    )
    torch.manual_seed(3)
    logits = deep(IMAGES)
    torch.manual_seed(3)
    dropped = [
        nn.functional.dropout(p.expand(5, -1, -1), dropout) if dropout else p
        for p in deep.method.prompts
    ]
    expected = deep.head.linear(pooled(oracle.vpt_deep(plain, IMAGES, dropped, keep_last=True)))
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    (ours,), (theirs,) = (
        gradients(logits.square().sum(), deep.method.prompts),
        gradients(expected.square().sum(), deep.method.prompts),
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    without: Any = Model(
        IVPT(vit, prompts=count, cdc=False, da=False, ar=False), LinearHead(Method(vit), 7)
    ).double()
    without.method.prompts, without.head = deep.method.prompts, deep.head
    torch.testing.assert_close(without.eval()(IMAGES), deep.eval()(IMAGES), rtol=1e-12, atol=1e-12)
    shallow: Any = Model(VPT(vit, prompts=count), LinearHead(Method(vit), 7)).double()
    tokens = oracle.vpt_shallow(plain, IMAGES, shallow.method.prompts, keep_last=True)
    torch.testing.assert_close(
        shallow(IMAGES), shallow.head.linear(pooled(tokens)), rtol=1e-9, atol=1e-9
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    grid=st.integers(1, 4),
    patch=st.integers(1, 4),
    heads=st.integers(1, 4),
    head_dim=st.integers(1, 9),
    depth=st.integers(1, 4),
    registers=st.integers(0, 3),
    count=st.integers(1, 9),
    batch=st.integers(1, 4),
    pooling=st.sampled_from(["cls", "avg", "vpt-mae"]),
    deep=st.booleans(),
)
def test_any_shape_equals_the_papers_form(
    grid: int,
    patch: int,
    heads: int,
    head_dim: int,
    depth: int,
    registers: int,
    count: int,
    batch: int,
    pooling: Pooling,
    deep: bool,
):
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=grid * patch,
        patch_size=patch,
        embed_dim=heads * head_dim,
        depth=depth,
        num_heads=heads,
        reg_tokens=registers,
        num_classes=0,
        mlp_ratio=1.5 if heads * head_dim > 1 else 1.0,
    ).double()
    vit.eval()
    images = torch.randn(batch, 3, grid * patch, grid * patch, dtype=torch.float64)
    method = (VPTDeep if deep else VPT)(
        FrozenViT(vit, pooling), prompts=count, dropout=0.0
    ).double()
    keep = pooling == "vpt-mae"
    tokens = (
        oracle.vpt_deep(vit, images, list(method.prompts), keep)
        if deep
        else oracle.vpt_shallow(vit, images, method.prompts, keep)
    )
    if pooling == "vpt-mae":
        mean = tokens[:, 1 + registers :].mean(1)
        expected = (mean - mean.mean(1, keepdim=True)) / (
            mean.var(1, correction=0, keepdim=True) + 1e-6
        ).sqrt()
    else:
        normed = vit.norm(tokens)
        expected = normed[:, 0] if pooling == "cls" else normed[:, 1 + registers :].mean(1)
    features = method.vit.pool(method(images, method.vit.read())[-1])
    torch.testing.assert_close(features, expected, rtol=1e-9, atol=1e-9)
    (ours,), (theirs,) = (
        gradients(features.square().sum(), method.prompts),
        gradients(expected.square().sum(), method.prompts),
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize(
    "name",
    [
        "vit_base_patch16_224",
        "vit_large_patch16_384",
        "vit_huge_patch14_224",
        "vit_base_patch14_reg4_dinov2",
        "vit_giant_patch14_dinov2",
        "vit_base_patch16_clip_224",
        "vit_base_r50_s16_224",
        "vit_wee_patch16_reg1_gap_256",
        "deit3_base_patch16_224",
        "deit_base_distilled_patch16_224",
    ],
)
def test_the_architectures_that_people_tune_are_covered(name: str):
    with torch.device("meta"):
        vit: Any = timm.create_model(name, num_classes=0)
        FrozenViT(vit, "avg" if vit.global_pool == "avg" else "cls")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("swin_tiny_patch4_window7_224", "SwinTransformer"),
        ("vit_base_patch16_dinov3", "Eva"),
        ("vit_base_patch16_rope_224", "Eva"),
        ("samvit_base_patch16", "VisionTransformerSAM"),
        ("vit_base_patch16_xp_224", "ParallelScalingBlock"),
        ("vit_base_patch16_rpn_224", "ResPostBlock"),
        ("vit_base_patch16_siglip_224", "a CLS token that pools by 'map'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_another_architecture_is_refused_by_name(name: str, part: str):
    with torch.device("meta"), pytest.raises(BadInput, match=f"{part}.* not covered"):
        FrozenViT(cast("Any", timm.create_model(name)))
