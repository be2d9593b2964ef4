"""Every method on members of the families of backbones: it trains where what it needs is carried,
and is refused where not."""

import itertools
from typing import Any

import pytest
import torch
from families import tiny
from torch import nn
from vit_methods import ON_VITS

from harness.backbones.carried import Uncarried, lacking
from harness.backbones.frozen import FrozenBackbone
from harness.planning.variants import one, registered
from harness.training.heads import LinearHead, Model

FAMILIES = ("dinov3", "beit v2", "siglip")
BY_CLS = {"ivpt", "da-vpt", "tcpa"}
"""Methods that refuse a backbone without a class token themselves."""


@pytest.fixture(scope="module")
def members() -> dict[str, FrozenBackbone]:
    return {family: tiny(family, embed_dim=48) for family in FAMILIES}


@pytest.mark.parametrize("name", sorted(registered()))
def test_a_method_trains_on_what_carries_it_and_is_refused_elsewhere(
    name: str, members: dict[str, FrozenBackbone]
):
    torch.manual_seed(0)
    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    variant = one(f"{name}()")
    for family in FAMILIES:
        vit = members[family]
        if lacking(variant.method.needs, family, vit.carries):
            with pytest.raises(Uncarried, match=f"^{name} needs .*, which {family} doesn't have"):
                variant.build(vit, {})
            continue
        if family == "siglip" and name not in BY_CLS:
            continue
        if family == "siglip":
            with pytest.raises(ValueError, match="CLS"):
                variant.build(vit, {})
            continue
        method = variant.build(vit, {})
        model = Model(method, LinearHead(method, 3)).train()
        trained = {key: one for key, one in model.named_parameters() if one.requires_grad}
        before = {key: one.detach().clone() for key, one in trained.items()}
        step = torch.optim.SGD(trained.values(), lr=0.01)
        loss = nn.functional.cross_entropy(model(images), labels)
        more = model.penalty(labels)
        (loss if more is None else loss + more).backward()
        step.step()
        missed = [key for key, one in trained.items() if one.grad is None]
        assert not missed, f"{family}: no gradient reaches {missed[:3]}"
        assert any(not torch.equal(one, before[key]) for key, one in trained.items())
        logits = model.eval()(images)
        assert torch.isfinite(logits).all()
        assert logits.shape == (4, 3)


def test_which_of_them_are_carried():
    """The words of every method and family, so that a change of either is seen."""
    carried: dict[str, Any] = {family: tiny(family).carries for family in FAMILIES}
    runs = {
        family: {
            name
            for name, entry in registered().items()
            if not lacking(entry.load().needs, family, carried[family])
        }
        for family in FAMILIES
    }
    assert {"vpt", "vpt-deep", "linear", "full", "lora", "bitfit", "ivpt"} <= set.intersection(
        *runs.values()
    )
    assert runs["siglip"] == set(ON_VITS)
    for family, name in itertools.product(("dinov3", "beit v2"), ("vipamin", "self-prompt")):
        assert name not in runs[family]
