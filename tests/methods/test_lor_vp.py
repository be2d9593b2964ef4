"""LoR-VP: an image of low rank, added before mean and std are taken out."""

import copy

import pytest
import torch
from segmentation import seg
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from whole_runs import trained

from harness.backbones.vit import FrozenViT
from harness.data.normalization import IMAGENET, INCEPTION, NONE, Statistics
from methods.lor_vp import LoRVP

__all__ = ["seg"]
RAW = torch.rand(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def make(vit: VisionTransformer, statistics: Statistics = IMAGENET, **arguments) -> LoRVP:
    torch.manual_seed(0)
    pooling = "cls" if vit.global_pool == "token" else "avg"
    frozen = FrozenViT(copy.deepcopy(vit), pooling)
    frozen.statistics = statistics
    return LoRVP(frozen, **arguments).double()


def normalised(images: Tensor, statistics: Statistics) -> Tensor:
    channels = [
        (images[:, channel] - statistics.mean[channel]) / statistics.std[channel]
        for channel in range(3)
    ]
    return torch.stack(channels, dim=1)


def test_parameter_counts_on_vit_b16():
    with torch.device("meta"):
        vit = FrozenViT(VisionTransformer(num_classes=0))
        for rank, expected in ((4, 5_376), (1, 1_344)):
            method = LoRVP(vit, rank=rank)
            assert sum(p.numel() for p in method.parameters() if p.requires_grad) == expected


@pytest.mark.parametrize("statistics", [IMAGENET, INCEPTION, NONE], ids=lambda one: one.name)
def test_it_equals_the_slow_form_in_values_and_gradients(
    vit: VisionTransformer, statistics: Statistics
):
    method = make(vit, statistics)
    method.left.data.normal_()
    program = torch.zeros(3, 16, 16, dtype=torch.float64)
    for channel in range(3):
        for rank in range(4):
            outer = torch.outer(method.left[channel, :, rank], method.right[channel, rank])
            program[channel] = program[channel].clone() + outer
    (tokens,) = method(normalised(RAW, statistics), method.vit.read())
    ours, theirs = method.pool(tokens), vit(normalised(RAW + program, statistics))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    weights, leaves = torch.randn_like(ours), [method.left, method.right]
    for mine, slowly in zip(
        torch.autograd.grad((ours * weights).sum(), leaves),
        torch.autograd.grad((theirs * weights).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(mine, slowly, rtol=1e-9, atol=1e-9)


def test_training_starts_at_the_backbone_and_moves_the_left_factor_first(plain: VisionTransformer):
    method = make(plain)
    (tokens,) = method(RAW, method.vit.read())
    assert torch.equal(
        method.pool(tokens),
        method.vit.pool(method.vit.run(method.vit.embed(RAW), method.vit.read())[0]),
    )
    left, right = torch.autograd.grad(tokens.square().sum(), [method.left, method.right])
    assert (left.abs().amax((1, 2)) > 0).all()
    assert (right == 0).all()
    wide = LoRVP(FrozenViT(VisionTransformer(num_classes=0, embed_dim=24, depth=1, num_heads=2)))
    assert wide.right.std().item() == pytest.approx(0.01, abs=0.001)


def test_the_rank_is_at_least_one(plain: VisionTransformer):
    with pytest.raises(ValueError, match=r"rank is a number from 1 on, such as lor-vp\(rank=4\)"):
        make(plain, rank=0)


def test_a_final_run_and_its_checkpoint(tiny):
    outcome, model, again = trained(tiny, "lor-vp")
    assert outcome.score is not None
    assert (model.get_parameter("method.left") != 0).any()
    side = model.method.vit.image_size
    images = torch.randn(2, 3, side, side)
    assert torch.equal(model(images), again(images))


def test_segmentation_trains(seg):
    outcome, _, _ = trained(seg, "lor-vp", "halves")
    assert outcome.score is not None
