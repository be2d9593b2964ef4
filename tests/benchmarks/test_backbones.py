"""VPT-Deep's two forms on each family of backbones: they are equal, and cost what torch counts."""

import json

import backbones
import families
import pytest
import torch
from method_steps import CLASSES, KIND
from timm.models.swin_transformer import SwinTransformer

from harness.backbones.frozen import FrozenBackbone
from harness.backbones.swin import FrozenSwin
from harness.training.flops import step_flops
from harness.training.step import loss_of

COLUMNS = ("plain", "gap", "dinov3", "beit v2")
PATCHES = {"swin": 4, "swin of several windows in its last block": 2}
SIDE, BATCH, P = 32, 3, 3


def member(name: str) -> FrozenBackbone:
    if name in COLUMNS:
        return families.tiny(name)
    torch.manual_seed(0)
    vit = SwinTransformer(
        img_size=SIDE,
        patch_size=PATCHES[name],
        embed_dim=24,
        depths=(2, 2),
        num_heads=(2, 4),
        window_size=4,
        num_classes=0,
        mlp_ratio=2.0,
    )
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return FrozenSwin(vit)


@pytest.mark.parametrize("name", [*COLUMNS, *PATCHES])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_flops_in_closed_form_are_what_torch_counts(name: str, dropout: float):
    vit = member(name)
    for form, model in backbones.models_of(vit, P, dropout).items():
        counted = step_flops(KIND, model, SIDE, BATCH, torch.device("cpu"))
        assert counted == backbones.flops(vit, P, BATCH, form == "ours", dropout > 0), form


@pytest.mark.parametrize("name", [*COLUMNS, *PATCHES])
def test_both_forms_give_the_same_logits_and_gradients(name: str):
    models, images = backbones.models_of(member(name), P), torch.randn(BATCH, 3, SIDE, SIDE)
    found: list[list[torch.Tensor]] = []
    for model in models.values():
        model.double()
        trained = [one for one in model.parameters() if one.requires_grad]
        loss = loss_of(KIND, model, images.double(), torch.arange(BATCH) % CLASSES)
        found.append([model(images.double()), *torch.autograd.grad(loss, trained)])
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)


def test_the_readme_has_what_was_measured():
    rows = json.loads(backbones.FILE.read_text())["rows"]
    assert backbones.table(rows) in (backbones.FILE.parent / "README.md").read_text()
    assert list(rows) == list(backbones.BACKBONES)
    for family, row in rows.items():
        with torch.device("meta"):
            vit = backbones.made(family)
        for form in ("paper", "ours"):
            expected = backbones.flops(vit, backbones.PROMPTS, 4, form == "ours")
            assert row[form]["counted"] == row[form]["flops"] == expected
