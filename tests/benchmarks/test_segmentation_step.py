"""The figures of docs/segmentation.md: what is counted is what runs, on a tiny ViT; and the closed
numbers beside it."""

import pytest
import segmentation_step as benchmark
import torch
from timm.models.vision_transformer import VisionTransformer

from harness.backbones.vit import FrozenViT
from harness.planning import protocols
from harness.planning.cost import cell_cost
from harness.tasks.cards import load_cards
from harness.training.heads import SetrPup
from methods.vpt import VPTDeep


def tiny() -> FrozenViT:
    torch.manual_seed(0)
    return FrozenViT(
        VisionTransformer(
            img_size=32, patch_size=8, embed_dim=24, depth=4, num_heads=2, num_classes=0
        )
    )


def test_the_concatenating_form_says_the_same():
    vit = tiny()
    # eval: no prompt dropout
    ours, paper = VPTDeep(vit, prompts=3).eval(), benchmark.Concatenated(vit, prompts=3)
    paper.load_state_dict(ours.state_dict())
    images, read = torch.randn(2, 3, 32, 32), SetrPup(vit, 5).read
    for one, other in zip(ours(images, read), paper(images, read), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_step_trains_prompts_and_heads_and_a_fresh_models_loss_is_that_of_chance():
    model = benchmark.model_of(VPTDeep, tiny(), prompts=3)
    protocol = protocols.load("vpt").of("segmentation")
    before = [p.detach().clone() for p in model.parameters() if p.requires_grad]
    optimizer = benchmark.new_optimizer(model, benchmark.recipe_of(protocol))  # type: ignore[arg-type]
    found = benchmark.step(model, 2, optimizer)
    assert found.item() == pytest.approx(torch.tensor(150.0).log().item() * (1 + 0.4 * 2), rel=0.02)
    moved = [
        not torch.equal(p, old)
        for p, old in zip((p for p in model.parameters() if p.requires_grad), before, strict=True)
    ]
    assert sum(moved) > 0.8 * len(moved)


def test_the_documented_counts_of_crops_and_windows_are_the_protocols():
    protocol, card = protocols.load("vpt").of("segmentation"), load_cards()["ade20k"]
    cost = cell_cost(card, protocol, 0, 1, False)
    assert (cost.train, cost.scored) == (2_560_000, 108_000)
    assert pytest.approx(21e12, rel=0.03) == 2_560_000 * 1024 * 1024 * 4 * 2
