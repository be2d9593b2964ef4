"""The fast forward against the paper's form: same features, same gradients."""

import oracle
import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from harness.errors import BadInput
from harness.heads import LinearHead, Model
from methods.vit import FrozenViT, Read
from methods.vpt import VPT, VPTDeep

IMAGES = torch.randn(5, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def frozen(vit: VisionTransformer) -> FrozenViT:
    return FrozenViT(vit, "cls" if vit.global_pool == "token" else "avg")


def gradients(loss: torch.Tensor, *tensors: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, tensors))


@pytest.mark.parametrize("count", [1, 10, 50])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_vpt_deep_equals_the_papers_form(vit: VisionTransformer, count: int, dropout: float):
    model = Model(VPTDeep(frozen(vit), prompts=count, dropout=dropout), LinearHead(frozen(vit), 7)).double().train()
    prompts = model.method.prompts
    torch.manual_seed(3)
    logits = model(IMAGES)
    torch.manual_seed(3)
    dropped = [nn.functional.dropout(p.expand(5, -1, -1), dropout) if dropout else p for p in prompts]
    expected = model.head.linear(oracle.pooled(vit, oracle.vpt_deep(vit, IMAGES, dropped)))
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    weights = torch.randn_like(logits)
    tensors = (prompts, model.head.linear.weight, model.head.linear.bias)
    for ours, theirs in zip(gradients((logits * weights).sum(), *tensors), gradients((expected * weights).sum(), *tensors), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("count", [1, 10])
def test_vpt_shallow_equals_the_papers_form(vit: VisionTransformer, count: int):
    model = Model(VPT(frozen(vit), prompts=count), LinearHead(frozen(vit), 7)).double().train()
    logits = model(IMAGES)
    expected = model.head.linear(oracle.pooled(vit, oracle.vpt_shallow(vit, IMAGES, model.method.prompts)))
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    (ours,), (theirs,) = gradients(logits.square().sum(), model.method.prompts), gradients(expected.square().sum(), model.method.prompts)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_head_may_read_image_tokens_of_several_blocks(vit: VisionTransformer):
    method = VPTDeep(frozen(vit), prompts=4).double()
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
    block = plain.blocks[0]
    joined = block.norm1(torch.cat([tokens, prompts.expand(5, -1, -1)], dim=1))
    q, k, _ = block.attn.qkv(joined).reshape(5, -1, 3, 2, 12).permute(2, 0, 3, 1, 4)
    expected = (q[:, :, :1] @ k.transpose(2, 3) / 12**0.5).softmax(-1).mean(1)[:, 0, 1:17]
    torch.testing.assert_close(saliency, expected, rtol=1e-9, atol=1e-9)
    assert (saliency.sum(1) < 1).all()


def test_the_backbone_is_frozen_and_stays_in_eval_mode(plain: VisionTransformer):
    model = Model(VPTDeep(FrozenViT(plain)), LinearHead(FrozenViT(plain), 3)).train()
    assert not plain.training
    assert not any(p.requires_grad for p in plain.parameters())
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"method.prompts", "head.linear.weight", "head.linear.bias"}


def test_another_architecture_is_refused_by_name():
    with pytest.raises(BadInput, match="SwinTransformer is not covered"):
        FrozenViT(timm.create_model("swin_tiny_patch4_window7_224"))
