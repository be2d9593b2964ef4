"""Every built-in method on a GPU: what it computes on the CPU, in a step that doesn't make the CPU
wait for the device."""

import copy
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from vit_methods import ON_VITS, WAITING

from harness.backbones.vit import FrozenViT
from harness.engine.method_checks.subject import Images, made_up
from harness.planning.registry import registered
from harness.planning.variants import parse
from harness.training.classification import Classification, ClassificationRecipe
from harness.training.forward import predict
from harness.training.heads import LinearHead, Model
from harness.training.hooks import Hooks
from harness.training.loop import fit, train_split
from harness.training.recipe import new_optimizer
from harness.training.seeds import seed_all
from harness.training.step import backward

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
]

NAMES = [name for name in ON_VITS if registered()[name].value.startswith("methods.")]
CPU, GPU = torch.device("cpu"), torch.device("cuda")


class OnDevice(Images):
    """The whole split, whatever rows are asked for: to take some would move their numbers there."""

    def batch(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        return self.images, self.labels


@pytest.fixture(scope="module")
def vit() -> VisionTransformer:
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=96, depth=4, num_heads=3, num_classes=0
    ).eval()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return vit


def model_of(name: str, vit: VisionTransformer) -> Model:
    (variant,) = parse(f"{name}()")
    method = variant.build(FrozenViT(copy.deepcopy(vit)), variant.arguments)
    return Model(method, LinearHead(method, 3))


def recipe_of(name: str, epochs: int = 2) -> ClassificationRecipe:
    (variant,) = parse(f"{name}()")
    optimizer: dict[str, Any] = {
        "optimizer": "sgd",
        **{key: value for key, value in variant.method.optimizer.items() if key == "optimizer"},
    }
    return ClassificationRecipe(
        **optimizer, base_lr=0.01, weight_decay=0.0, batch_size=12, epochs=epochs, warmup_epochs=1
    )


@pytest.mark.parametrize("name", NAMES)
def test_logits_in_float32_are_those_of_the_cpu(
    name: str, vit: VisionTransformer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    seed_all(0)
    model, images = model_of(name, vit).eval(), made_up(7, 7).images
    with torch.no_grad():
        expected = model(images)
        torch.testing.assert_close(
            model.to(GPU)(images.to(GPU)).cpu(), expected, rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_in_bf16(name: str, vit: VisionTransformer):
    (*_, last) = fit(
        Classification(),
        lambda: model_of(name, vit),
        made_up(12, 12),
        made_up(7, 7),
        recipe_of(name),
        0,
        GPU,
        (2,),
    )
    assert last.epoch == 2
    assert 0 <= last.value <= 100
    assert not last.warnings


@pytest.mark.parametrize("name", NAMES)
def test_no_step_waits_for_the_device(name: str, vit: VisionTransformer):
    """Neither forward, loss, backward nor the optimiser's step copies to the CPU: the device always
    has work queued."""
    seed_all(0)
    kind, recipe = Classification(), recipe_of(name)
    model = model_of(name, vit).to(GPU)
    whole = made_up(12, 12)
    train = OnDevice(whole.images.to(GPU), whole.labels.to(GPU))
    hooks = Hooks(model, lambda: train_split(kind, model, train, recipe, 0, GPU))
    hooks.begin()
    optimizer, batch = new_optimizer(model.train(), recipe), torch.arange(12)
    hooks.epoch(0, recipe)

    def step() -> None:
        optimizer.zero_grad()
        backward(kind, model, train, batch, recipe, GPU)
        optimizer.step()

    step()
    if name in WAITING:
        return
    try:
        torch.cuda.set_sync_debug_mode("error")
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_scoring_doesnt_wait_between_batches(vit: VisionTransformer):
    model, images = model_of("vpt-deep", vit).eval().to(GPU), made_up(12, 12)
    held_out = OnDevice(images.images.to(GPU), images.labels.to(GPU))
    expected = predict(model, held_out, GPU, at_once=12)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = predict(model, held_out, GPU, at_once=3)  # every batch is the whole split
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(found, expected.repeat(4, 1))
