"""What changes maps costs no more than it must while it trains, and nothing once it is merged."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from architectures import ARCHITECTURES, build
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from tuned import IMAGES, features, randomise

from harness.backbones.vit import FrozenViT
from harness.planning.variants import one
from harness.training.heads import LinearHead, Model

FOLDED = (
    *("lora(rank=4)", "lora(rank=4,targets=qkv)", "ssf", "fact-tt(rank=4,scale=0.7)"),
    *("fact-tk(rank=4,scale=0.7)", "repadapter(scale=0.7)"),
)
ATTENTION = 4 * 768 * 197 * (11 * 197 + 1)
"""Operations of attention's two products, forward; only CLS asks in the last block. Backward is
twice as much."""


@contextmanager
def counted(into: list[int]) -> Iterator[None]:
    with FlopCounterMode(display=False) as counter:
        yield
    into.append(counter.get_total_flops() // 2)  # of two images


def flops(method: str) -> tuple[int, int]:
    """Of an image on ViT-B/16: forward alone, and of a training step."""
    found: list[int] = []
    with torch.device("meta"):
        vit = FrozenViT(VisionTransformer(num_classes=0))
        built = one(method).build(vit, one(method).arguments)
        model = Model(built, LinearHead(built, 100)).train()
        images, labels = torch.zeros(2, 3, 224, 224), torch.zeros(2, dtype=torch.long)
        with counted(found), torch.no_grad():
            model(images)
        with counted(found):
            functional.cross_entropy(model(images), labels).backward()
    return found[0], found[1]


@pytest.mark.parametrize(
    ("method", "gflop"),
    [
        ("bitfit", 62.5),
        ("lora", 62.7),
        ("lora(targets=qkv)", 62.7),
        ("ssf", 63.0),
        ("fact-tt(rank=8)", 63.6),
        ("fact-tk(rank=8)", 63.6),
        ("repadapter", 62.8),
    ],
)
def test_a_step_pays_for_no_gradient_of_a_frozen_weight(method: str, gflop: float):
    """Backward is no more than gradients of inputs, as much as forward, and of what was added.
    Without attention's products, full fine-tuning has 93.9."""
    plain, _ = flops("linear")
    forward, step = flops(method)
    added = forward - plain
    assert step <= 2 * forward + added + ATTENTION
    assert (step - 3 * ATTENTION) / 1e9 == pytest.approx(gflop, abs=0.06)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
@pytest.mark.parametrize("method", FOLDED)
def test_the_merged_backbone_gives_the_same_features(method: str, architecture: str):
    if method.startswith("fact") and architecture == "huge":
        pytest.skip("its MLPs are no whole multiple of the width")
    plain = build(architecture)
    vit = FrozenViT(plain, "avg" if plain.global_pool == "avg" else "cls")
    built = one(method).build(vit, one(method).arguments).double().eval()
    randomise(built)
    with torch.no_grad():
        before = features(built)
        built.merge()
        merged = built.vit.vit
        after = merged.forward_head(merged.forward_features(IMAGES), pre_logits=True)
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)
    lacking = set(merged.state_dict()) - set(plain.state_dict())
    assert all(architecture == "no-qkv-bias" and name.endswith("qkv.bias") for name in lacking)
    assert set(plain.state_dict()) <= set(merged.state_dict())
