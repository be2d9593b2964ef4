"""Steps that are replayed as a CUDA graph, and when they aren't."""

import copy
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from vit_methods import ON_VITS

from harness.backbones.frozen import FrozenBackbone, Read
from harness.backbones.vit import FrozenViT
from harness.engine.method_checks.subject import made_up
from harness.planning.registry import registered
from harness.planning.variants import parse
from harness.training import replay
from harness.training.classification import Classification, ClassificationRecipe
from harness.training.heads import LinearHead, Model
from harness.training.loop import Score, fit
from harness.training.method import Method
from harness.training.replay import Steps, kept_by_python, same

CPU, GPU = torch.device("cpu"), torch.device("cuda")
ON_GPU = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
NAMES = [name for name in ON_VITS if registered()[name].value.startswith("methods.")]
EPOCHS = {"da-vpt", "tcpa"}
"""Methods with an `epoch` hook."""
WAITS = {"pae", "boft", "fourierft"}
"""Methods whose step waits for the device: see tests/methods/test_cuda.py."""
PYTHONS = {"lokr"}
"""Methods of whose step Python keeps something."""
RECIPE: dict[str, Any] = {"base_lr": 0.05, "weight_decay": 0.01, "batch_size": 8}


@pytest.fixture(scope="module")
def vit() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(
        img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=3, num_classes=0
    ).eval()


def recipe(**more: Any) -> ClassificationRecipe:
    return ClassificationRecipe(
        **{**RECIPE, "optimizer": "sgd", "epochs": 4, "warmup_epochs": 1, "drop_path": 0.2, **more}
    )


class Shift(Method):
    """One prompt, added to every token."""

    def __init__(self, vit: FrozenBackbone):
        super().__init__(vit)
        self.shift = torch.nn.Parameter(torch.zeros(vit.dim))
        self.seen, self.held, self.mean = 0, [0.0], torch.zeros((), device=GPU)

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        return self.vit.run(self.vit.embed(images) + self.shift * self.factor(), read)

    def factor(self) -> Any:
        return 1.0


class Counts(Shift):
    def factor(self) -> Any:
        self.seen += self.training
        return 1.0


class Collects(Shift):
    def factor(self) -> Any:
        self.held.append(1.0)
        return 1.0


class Draws(Shift):
    def factor(self) -> Any:
        return random.random() if self.training else 1.0


class Waits(Shift):
    def factor(self) -> Any:
        return 1.0 + self.shift.sum().item()


class Remembers(Shift):
    """What a graph can't see: a tensor that is another one after each step."""

    def factor(self) -> Any:
        if self.training:
            self.mean = self.mean + 1.0
        return self.mean


class OnDevice(Shift):
    """The same, in a buffer."""

    def __init__(self, vit: FrozenBackbone):
        super().__init__(vit)
        self.register_buffer("count", torch.zeros(()))

    def factor(self) -> Any:
        if self.training:
            self.count += 1.0
            self.log("count", self.count)
        return self.count


def trained(
    build: Any, device: torch.device = GPU, **more: Any
) -> tuple[Score, list[Steps[ClassificationRecipe]]]:
    """The last score of a run on 20 images in batches of 8, 8 and 4, and what made its steps."""
    made: list[Steps[ClassificationRecipe]] = []

    class Seen(Steps[ClassificationRecipe]):
        def __init__(self, *arguments: Any):
            super().__init__(*arguments)
            made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.training.loop.Steps", Seen)
        (*_, last) = fit(
            Classification(), build, made_up(20, 20), made_up(7, 7), recipe(**more), 0, device, (4,)
        )
    return last, made


def queued(build: Any, **more: Any) -> Score:
    """The same run, without a graph."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "WARM_UP", 10**9)
        return trained(build, **more)[0]


def of_name(name: str, vit: VisionTransformer) -> Model:
    (variant,) = parse(f"{name}()")
    method = variant.build(FrozenViT(copy.deepcopy(vit)), variant.arguments)
    return Model(method, LinearHead(method, 3))


def of_class(method: type[Method], vit: VisionTransformer) -> Model:
    built = method(FrozenViT(copy.deepcopy(vit)))
    return Model(built, LinearHead(built, 3))


def optimizer(name: str) -> Mapping[str, Any]:
    (variant,) = parse(f"{name}()")
    return {key: value for key, value in variant.method.optimizer.items() if key == "optimizer"}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", NAMES)
def test_a_replayed_run_is_the_queued_one(name: str, vit: VisionTransformer):
    """To the last bit of the logits, dropout and drop-path included."""
    last, steps = trained(lambda: of_name(name, vit), **optimizer(name))
    refused = [one.refused for one in steps]
    assert all(bool(one) == (name in EPOCHS | WAITS | PYTHONS) for one in refused), refused
    again = queued(lambda: of_name(name, vit), **optimizer(name))
    assert (last.logits_sha256, last.curves) == (again.logits_sha256, again.curves)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    ("method", "why"),
    [
        (Shift, ""),
        (OnDevice, ""),
        (Counts, "a step changes what Python keeps"),
        (Collects, "a step changes what Python keeps"),
        (Draws, "a step changes what Python keeps"),
        (Remembers, "its replay gives other gradients"),
        (Waits, None),
    ],
)
def test_what_no_graph_can_say_is_queued(
    method: type[Method], why: str | None, vit: VisionTransformer
):
    last, (steps,) = trained(lambda: of_class(method, vit))
    assert steps.refused if why is None else steps.refused == why
    assert (steps.graph is None) == bool(steps.refused)
    again = queued(lambda: of_class(method, vit))
    assert (last.logits_sha256, last.curves) == (again.logits_sha256, again.curves)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_parts_of_a_batch_are_queued(vit: VisionTransformer):
    _, (steps,) = trained(lambda: of_name("vpt", vit), micro_batch=4)
    assert steps.refused == "memory is short"


def test_no_step_is_recorded_on_the_cpu(vit: VisionTransformer):
    _, (steps,) = trained(lambda: of_name("vpt", vit), device=CPU)
    assert steps.refused == "it isn't on CUDA"


def test_gradients_are_the_same_up_to_rounding():
    one = torch.tensor([3.0, 4.0])
    assert same([one, None], [one * (1 + 1e-4), None])
    assert not same([one, None], [one * (1 + 1e-2), None])
    assert not same([one, one], [one, None])
    assert not same([one * torch.nan], [one * torch.nan])


@pytest.mark.parametrize(
    "change",
    [
        lambda model: setattr(model, "count", 2),
        lambda model: model.collected.append(1),
        lambda model: torch.rand(1),
        lambda model: random.random(),
        lambda model: np.random.rand(),
    ],
)
def test_what_python_keeps(change: Any):
    model = torch.nn.Linear(2, 2)
    model.count, model.collected = 1, []  # type: ignore[assignment]
    before = kept_by_python(model)
    model(torch.zeros(1, 2))
    assert kept_by_python(model) == before
    change(model)
    assert kept_by_python(model) != before
