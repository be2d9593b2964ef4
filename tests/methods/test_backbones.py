"""Every method on members of the families of backbones: it trains where what it needs is carried,
for whole images and for pixels, and its checkpoint comes back; it is refused where not."""

import itertools

import pytest
import torch
from families import tiny
from torch import nn
from vit_methods import ON_VITS

from harness.backbones import load
from harness.backbones.carried import Uncarried, lacking
from harness.backbones.frozen import FrozenBackbone
from harness.inference import checkpoint
from harness.planning.registry import registered
from harness.planning.variant import Variant
from harness.planning.variants import one
from harness.training.heads import LinearHead, Model
from harness.training.kinds import kind_of
from harness.training.step import loss_of

MINI = ("mini_convnext", "mini_rope", "mini_swin")
TINY = ("beit v2", "siglip")
TOO_LARGE = {"oft": "oft(rank=4)"}
"""Methods whose own block doesn't divide a small width."""
LAST_NORMS = tuple(f"method.vit.vit.{norm}." for norm in ("norm", "fc_norm", "head.norm"))
"""What pooling has, and rows haven't."""
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def members() -> dict[str, FrozenBackbone]:
    made = {family: tiny(family, embed_dim=48) for family in TINY}
    return {**{name: load(name).vit for name in MINI}, **made}


@pytest.mark.parametrize("name", sorted(registered()))
def test_a_method_trains_on_what_carries_it_and_is_refused_elsewhere(
    name: str, members: dict[str, FrozenBackbone]
):
    variant = one(TOO_LARGE.get(name, f"{name}()"))
    for member, vit in members.items():
        if lacking(variant.method.needs, member, vit.carries):
            with pytest.raises(Uncarried, match=f"^{name} needs .*, which {member} doesn't have"):
                variant.build(vit, variant.arguments)
        elif member == "siglip":  # a plain ViT
            if name == "ivpt":  # with its arguments, or some of them
                with pytest.raises(ValueError, match="CLS"):
                    variant.build(vit, variant.arguments)
        else:
            check_trained(variant, vit)
            if "segmentation" not in variant.method.refuses:
                check_pixels(variant, vit)


def check_trained(variant: Variant, vit: FrozenBackbone) -> None:
    """Two steps: what starts at zero lets no gradient through in the first."""
    model = linear(variant, vit).train()
    trained = {key: one for key, one in model.named_parameters() if one.requires_grad}
    before = {key: one.detach().clone() for key, one in trained.items()}
    labels, step = torch.tensor([0, 1]), torch.optim.SGD(trained.values(), lr=0.05)
    for _ in range(2):
        step.zero_grad()
        loss = nn.functional.cross_entropy(model(IMAGES), labels)
        more = model.penalty(labels)
        (loss if more is None else loss + more).backward()
        step.step()
    missed = [key for key, one in trained.items() if one.grad is None or not one.grad.any()]
    assert not missed, f"{vit.name}: no gradient reaches {missed[:3]}"
    assert any(not torch.equal(one, before[key]) for key, one in trained.items())
    logits = model.eval()(IMAGES)
    assert torch.isfinite(logits).all()
    back = linear(variant, vit)
    checkpoint.put(back, checkpoint.contents(model))
    assert torch.equal(back.eval()(IMAGES), logits)


def linear(variant: Variant, vit: FrozenBackbone) -> Model:
    torch.manual_seed(0)
    method = variant.build(vit, variant.arguments)
    return Model(method, LinearHead(method, 3))


def check_pixels(variant: Variant, vit: FrozenBackbone) -> None:
    method = variant.build(vit, variant.arguments)
    kind = kind_of("segmentation")
    model = Model(method, kind.new_head(method, 3, "kaiming_normal")).train()
    loss_of(kind, model, IMAGES, torch.zeros(2, 32, 32).long()).backward()
    missed = [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None]
    missed = [key for key in missed if not key.startswith(LAST_NORMS)]
    assert not missed, f"{vit.name}: no gradient reaches {missed[:3]}"
    assert model.eval()(IMAGES).shape == (2, 3, 32, 32)


def test_which_of_them_are_carried(members: dict[str, FrozenBackbone]):
    """The words of every method and family, so that a change of either is seen."""
    runs: dict[str, set[str]] = {
        member: {
            name
            for name, entry in registered().items()
            if not lacking(entry.load().needs, member, vit.carries)
        }
        for member, vit in members.items()
    }
    assert {"linear", "full", "bitfit", "pixel-prompt"} <= set.intersection(*runs.values())
    runs.pop("mini_convnext")
    assert {"vpt", "vpt-deep", "lora"} <= set.intersection(*runs.values())
    assert runs["siglip"] == {*ON_VITS} - {"da-vpt", "tcpa"}
    for member, name in itertools.product(("mini_rope", "beit v2"), ("vipamin", "self-prompt")):
        assert name not in runs[member]
    assert "ivpt" in runs["mini_rope"]
