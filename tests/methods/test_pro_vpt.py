"""ProVP's prompts against a block by explicit softmax, and its two limits: VPT-Deep and
VPT-Shallow."""

import oracle
import pytest
import torch
from segmentation import seg
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from whole_runs import trained

from harness.backbones.frozen import Pooling, Read
from harness.backbones.vit import FrozenViT
from methods.pro_vpt import ProVPT

__all__ = ["seg"]
IMAGES = torch.randn(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def make(vit: VisionTransformer, pooling: Pooling | None = None, **arguments) -> ProVPT:
    torch.manual_seed(0)
    pooling = pooling or ("cls" if vit.global_pool == "token" else "avg")
    return ProVPT(FrozenViT(vit, pooling), **{"prompts": 5, **arguments}).double()


def tokens_of(method: ProVPT) -> Tensor:
    (tokens,) = method(IMAGES, method.vit.read())
    return tokens


def agree(method: ProVPT, ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    weights = torch.randn_like(ours)
    (mine,), (slowly,) = (
        torch.autograd.grad((one * weights).sum(), [method.prompts]) for one in (ours, theirs)
    )
    torch.testing.assert_close(mine, slowly, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("prompts", "expected"), [(10, 92_160), (50, 460_800)])
def test_parameter_counts_on_vit_b16(prompts: int, expected: int):
    with torch.device("meta"):
        method = ProVPT(FrozenViT(VisionTransformer(num_classes=0)), prompts=prompts)
    assert sum(p.numel() for p in method.parameters() if p.requires_grad) == expected


@pytest.mark.parametrize("share", [0.01, 0.4])
def test_a_share_of_what_a_block_made_of_its_prompts_joins_the_next_ones(
    plain: VisionTransformer, share: float
):
    method = make(plain, share=share)
    tokens = plain._pos_embed(plain.patch_embed(IMAGES))
    outs = torch.empty(0)
    for index, block in enumerate(plain.blocks):
        own = method.prompts[index].expand(3, -1, -1)
        entering = (
            own
            if index == 0
            else torch.stack([share * o + (1 - share) * p for o, p in zip(outs, own, strict=True)])
        )
        made, _ = oracle.block(block, torch.cat([tokens, entering], dim=1))
        tokens, outs = made[:, :17], made[:, 17:]
    agree(method, tokens_of(method), tokens[:, :1])


def test_without_a_share_it_is_vpt_deep_and_with_all_of_it_vpt_shallow(vit: VisionTransformer):
    deep = make(vit, share=0.0)
    rows = slice(0, 1) if deep.vit.pooling == "cls" else slice(vit.num_prefix_tokens, None)
    agree(deep, tokens_of(deep), oracle.vpt_deep(vit, IMAGES, list(deep.prompts))[:, rows])
    shallow = make(vit, share=1.0)
    expected = oracle.vpt_shallow(vit, IMAGES, shallow.prompts[0])[:, rows]
    torch.testing.assert_close(tokens_of(shallow), expected, rtol=1e-9, atol=1e-9)


def test_pooling_over_prompts_reads_those_of_the_last_block(plain: VisionTransformer):
    method = make(plain, "vpt-mae", share=0.0)
    kept = oracle.vpt_deep(plain, IMAGES, list(method.prompts), keep_last=True)
    expected = torch.cat([kept[:, 6:], kept[:, 1:6]], dim=1)  # ours behind the image
    torch.testing.assert_close(tokens_of(method), expected, rtol=1e-9, atol=1e-9)


def test_segmentation_reads_image_tokens_of_every_block(plain: VisionTransformer):
    method = make(plain, share=0.4)
    first, last = method(IMAGES, Read((0, 2), "image"))
    assert first.shape == last.shape == (3, 16, 24)
    avg = make(plain, "avg", share=0.4)
    torch.testing.assert_close(last, tokens_of(avg), rtol=1e-9, atol=1e-9)


def test_dropout_is_off_as_released_and_on_where_asked_for(plain: VisionTransformer):
    method = make(plain).train()
    assert torch.equal(tokens_of(method), tokens_of(method))
    method = make(plain, dropout=0.5).train()
    assert not torch.allclose(tokens_of(method), tokens_of(method))


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_is_from_0_to_1(plain: VisionTransformer, share: float):
    with pytest.raises(ValueError, match=r"share is a number from 0 to 1, such as pro-vpt"):
        make(plain, share=share)


def test_a_final_run_and_its_checkpoint(tiny):
    outcome, model, again = trained(tiny, "pro-vpt", prompts=2)
    assert outcome.score is not None
    side = model.method.vit.image_size
    images = torch.randn(2, 3, side, side)
    assert torch.equal(model(images), again(images))
    assert outcome.trainable == model.get_parameter("method.prompts").numel()


def test_segmentation_trains(seg):
    outcome, _, _ = trained(seg, "pro-vpt", "halves", prompts=2)
    assert outcome.score is not None
