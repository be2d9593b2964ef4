"""Prefix tuning against an explicit softmax."""

from typing import Any

import oracle
import pytest
import torch
from in_process import outcomes
from segmentation import seg
from timm.models.vision_transformer import VisionTransformer

from harness.backbones.frozen import Read
from harness.backbones.vit import FrozenViT
from harness.engine.jobs import FinalJob
from harness.engine.trainer import Trainer
from harness.planning.plan import plan
from harness.training.method import trained_values
from methods.prefix import Prefix

__all__ = ["seg"]
IMAGES = torch.randn(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_parameter_count_on_vit_b16():
    with torch.device("meta"):
        method = Prefix(FrozenViT(VisionTransformer(num_classes=0)), prompts=20)
    assert trained_values(method) == (368_640, 0)


@pytest.mark.parametrize("rows", ["cls", "image"])
def test_it_equals_an_explicit_softmax_in_values_and_gradients(plain, rows: Any):
    torch.manual_seed(0)
    method = Prefix(FrozenViT(plain), prompts=5).double()
    (ours,) = method(IMAGES, Read((2,), rows))
    tokens = plain.norm_pre(plain._pos_embed(plain.patch_embed(IMAGES)))
    for block, keys, values in zip(plain.blocks, method.keys, method.values, strict=True):
        tokens, _ = oracle.block(block, tokens, keys=keys, values=values)
    theirs = tokens[:, :1] if rows == "cls" else tokens[:, 1:]
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    weights, leaves = torch.randn_like(ours), (method.keys, method.values)
    for one, other in zip(
        torch.autograd.grad((ours * weights).sum(), leaves),
        torch.autograd.grad((theirs * weights).sum(), leaves),
        strict=True,
    ):
        assert other.abs().max() > 1e-3
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_keys_and_values_start_apart(plain: VisionTransformer):
    method = Prefix(FrozenViT(plain), prompts=5)
    assert not torch.equal(method.keys, method.values)
    assert method.keys.abs().max() <= (6 / (5 * 12)) ** 0.5


def test_it_classifies_and_segments(seg):
    for task in ("toy", "halves"):
        found = plan(seg.request("prefix(prompts=2)", task))
        (cell,) = found.cells
        point = {name: 0.5 if name == "base_lr" else 0.0 for name in cell.space}
        trainer = Trainer(found, threads=1, raises=True)
        _, (outcome,) = outcomes(trainer, FinalJob(cell.key, (0,), point))
        assert outcome.score is not None
        assert outcome.trainable == 2 * 4 * 2 * 96
