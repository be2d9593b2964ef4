"""CVPT: its branch against an explicit softmax, at each of its places."""

from typing import Any

import pytest
import torch
from in_process import outcomes
from segmentation import seg
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from harness.backbones.frozen import Read
from harness.backbones.vit import FrozenViT
from harness.engine.jobs import FinalJob
from harness.engine.trainer import Trainer
from harness.planning.plan import plan
from harness.training.method import trained_values
from methods.cvpt import CVPT

__all__ = ["seg"]
IMAGES = torch.randn(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def make(plain: VisionTransformer, **arguments: Any) -> CVPT:
    torch.manual_seed(0)
    return CVPT(FrozenViT(plain), **{"prompts": 5, "dropout": 0.0, **arguments}).double()


def cross(block: Any, rows: Tensor, prompts: Tensor) -> Tensor:
    """Row by row and head by head."""
    (wq, wk, wv), (bq, bk, bv) = block.attn.qkv.weight.chunk(3), block.attn.qkv.bias.chunk(3)
    images = []
    for image in rows:
        mixed = []
        for row in image:
            heads = []
            for head in range(2):
                span = slice(12 * head, 12 * head + 12)
                q = wq[span] @ row + bq[span]
                logits = torch.stack([q @ (wk[span] @ p + bk[span]) for p in prompts]) / 12**0.5
                weights = logits.exp() / logits.exp().sum()
                heads.append(
                    sum(
                        w * (wv[span] @ p + bv[span]) for w, p in zip(weights, prompts, strict=True)
                    )
                )
            mixed.append(block.attn.proj(torch.cat(heads)))
        images.append(torch.stack(mixed))
    return torch.stack(images)


def slow(plain: VisionTransformer, prompts: Tensor, insert: int) -> Tensor:
    x = plain.norm_pre(plain._pos_embed(plain.patch_embed(IMAGES)))
    for block, own in zip(plain.blocks, prompts, strict=True):
        if insert == 1:
            x = x + cross(block, x, own)
        beside = cross(block, x, own) if insert == 2 else 0
        x = x + block.attn(block.norm1(x)) + beside
        if insert == 3:
            x = x + cross(block, x, own)
        into = cross(block, x, own) if insert == 4 else 0
        x = x + block.mlp(block.norm2(x) + into)
        if insert == 5:
            x = x + cross(block, x, own)
    return x


def test_parameter_count_on_vit_b16():
    with torch.device("meta"):
        method = CVPT(FrozenViT(VisionTransformer(num_classes=0)), prompts=10)
    assert trained_values(method) == (92_160, 0)


@pytest.mark.parametrize("insert", [1, 2, 3, 4, 5])
def test_it_equals_an_explicit_softmax_in_values_and_gradients(plain, insert: Any):
    method = make(plain, insert=insert)
    (ours,) = method(IMAGES, Read((2,), "image"))
    theirs = slow(plain, method.prompts, insert)[:, 1:]
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    weights = torch.randn_like(ours)
    (one,) = torch.autograd.grad((ours * weights).sum(), method.prompts)
    (other,) = torch.autograd.grad((theirs * weights).sum(), method.prompts)
    assert other.abs().max() > 1e-3
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    (cls,) = method(IMAGES, Read((2,), "cls"))
    torch.testing.assert_close(
        cls, slow(plain, method.prompts, insert)[:, :1], rtol=1e-9, atol=1e-9
    )


def test_a_single_prompt_adds_the_same_vector_to_every_row(plain: VisionTransformer):
    method, attn = make(plain, prompts=1), plain.blocks[0].attn
    tokens, (prompt,) = method.vit.embed(IMAGES), method.prompts[0]
    k, v = method.vit.project(0, method.prompts[:1].expand(3, -1, -1), "kv")
    added = method.cross(0, tokens, k, v)
    wv, bv = attn.qkv.weight.chunk(3)[2], attn.qkv.bias.chunk(3)[2]
    expected = attn.proj(wv @ prompt + bv).expand(3, 17, -1)
    torch.testing.assert_close(added, expected, rtol=1e-9, atol=1e-9)


def test_prompts_of_zeros_are_not_the_frozen_model(plain: VisionTransformer):
    method = make(plain)
    method.prompts.data.zero_()
    read = Read((0,), "image")
    (tokens,), (frozen,) = method(IMAGES, read), method.vit.run(method.vit.embed(IMAGES), read)
    assert (tokens - frozen).abs().max() > 1e-3


def test_prompts_start_xavier_uniform_over_all_blocks(plain: VisionTransformer):
    for count in (20, 200):
        prompts = make(plain, prompts=count).prompts
        bound = (6 / (24 * (count + 3))) ** 0.5
        assert 0.98 * bound < prompts.abs().max() <= bound
        assert abs(prompts.std().item() - bound / 3**0.5) < 0.03 * bound


def test_dropout_has_a_mask_of_its_own_for_each_image(plain: VisionTransformer):
    method = make(plain, dropout=0.5).train()
    same = IMAGES[:1].expand(3, -1, -1, -1)
    (tokens,) = method(same, Read((2,), "cls"))
    assert not torch.allclose(tokens[0], tokens[1])
    (tokens,) = method.eval()(same, Read((2,), "cls"))
    torch.testing.assert_close(tokens[0], tokens[1], rtol=1e-12, atol=1e-12)


def test_another_place_is_refused(plain, unchecked: None):
    with pytest.raises(ValueError, match="cvpt's insert is one of 1, 2, 3, 4, 5, not"):
        make(plain, insert=6)


def test_the_protocol_s_drop_path_is_on_the_mlp_that_prompts_enter(plain: VisionTransformer):
    """Where it drops every image, a block gives its tokens back."""
    method = make(plain, insert=4).train()
    for block in method.vit.vit.blocks:
        block.drop_path1, block.drop_path2 = torch.nn.Dropout(1.0), torch.nn.Dropout(1.0)
    (tokens,) = method(IMAGES, method.vit.read())
    torch.testing.assert_close(tokens, method.vit.embed(IMAGES)[:, :1])


def test_it_classifies_and_segments(seg):
    for task in ("toy", "halves"):
        found = plan(seg.request("cvpt(prompts=2)", task))
        (cell,) = found.cells
        assert list(cell.space) == ["base_lr", "weight_decay"]
        trainer = Trainer(found, threads=1, raises=True)
        point = {"base_lr": 0.01, "weight_decay": 0.05}
        _, (outcome,) = outcomes(trainer, FinalJob(cell.key, (0,), point))
        assert outcome.score is not None
        assert outcome.trainable == 4 * 2 * 96
