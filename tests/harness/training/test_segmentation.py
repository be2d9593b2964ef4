"""The training run of segmentation: schedule, loss, groups, determinism, parts of a batch, a plain
loop; and every method in it."""

import copy
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from places import REPOSITORY
from torch import Tensor, nn
from vit_methods import ON_VITS

from harness import backbones
from harness.backbones.frozen import FrozenBackbone
from harness.data.batch import normalised
from harness.data.scenes import Scenes, together
from harness.planning.variants import parse
from harness.training.forward import Diverged
from harness.training.heads import LinearHead, Model, SetrPup
from harness.training.loop import Score, fit, scored_at_once
from harness.training.metrics import confusion, overlap
from harness.training.recipe import new_optimizer
from harness.training.segmentation import Segmentation
from harness.training.segmentation import SegmentationRecipe as Recipe
from harness.training.step import backward
from methods.vpt import VPTDeep

CPU = torch.device("cpu")
KIND = Segmentation()
RECIPE = Recipe(
    optimizer="sgd",
    base_lr=1.6,
    weight_decay=0.01,
    batch_size=4,
    iterations=6,
    head_factor=10.0,
    power=0.9,
    lowest_lr=0.0001,
)
CLASSES = 3


class Part:
    """Images whose upper half is dark and lower half bright, and masks that say so."""

    def __init__(self, n: int, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.labels = np.zeros(n, np.int64)
        self.images = rng.integers(0, 100, (n, 30, 40, 3), dtype=np.uint8)
        self.images[:, 15:] += 120
        self.targets = np.zeros((n, 30, 40), np.uint8)
        self.targets[:, 15:], self.targets[:, 14:16] = 1, 255

    def rows(self, index: np.ndarray) -> list[np.ndarray]:
        return [self.images[row] for row in index]

    def masks(self, index: np.ndarray) -> list[np.ndarray]:
        return [self.targets[row] for row in index]


def scenes(n: int, seed: int = 0) -> Scenes:
    return Scenes([Part(n, seed)], 30, 30)


@pytest.fixture(scope="module")
def vit() -> FrozenBackbone:
    return backbones.load("mini_vit").vit.at(30)


class Net(nn.Module):
    """A prompt and a head of a few values, with the outputs that a head has in training and in
    scoring."""

    def __init__(self) -> None:
        super().__init__()
        self.method = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Sequential(nn.Tanh(), nn.Conv2d(4, CLASSES, 1))
        self.head.classes = CLASSES  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        scores = self.head(self.method(images))
        return [scores, 0.5 * scores] if self.training else scores


def train(recipe: Recipe = RECIPE, seed: int = 0, score_at: tuple[int, ...] = ()) -> list[Score]:
    return list(fit(KIND, Net, scenes(6), scenes(3, 1), recipe, seed, CPU, score_at))


def test_the_learning_rate_is_a_polynomial_from_the_peak_to_the_lowest_for_method_and_head():
    recipe = replace(RECIPE, base_lr=0.016, batch_size=16, iterations=160_000)
    assert recipe.lr(0) == pytest.approx(0.001)
    assert recipe.lr(0, 10.0) == pytest.approx(0.01)
    assert recipe.lr(80_000, 10.0) == pytest.approx(0.5**0.9 * (0.01 - 0.0001) + 0.0001)
    assert recipe.lr(159_999) == pytest.approx(0.0001, rel=1e-3)
    assert replace(recipe, base_lr=0.0008).lr(80_000) == pytest.approx(0.00005 * 0.5**0.9)


def test_the_loss_weighs_auxiliary_heads_by_two_fifths_and_counts_ignored_pixels_as_zero():
    scores = [torch.randn(2, CLASSES, 4, 5, requires_grad=True) for _ in range(3)]
    masks = torch.randint(0, CLASSES, (2, 4, 5))
    masks[0, :2] = 255
    expected = torch.zeros(())
    for weight, own in zip((1, 0.4, 0.4), scores, strict=True):
        logs = own.log_softmax(1)
        for image, row, column in np.argwhere(masks.numpy() != 255):
            expected = expected - weight * logs[image, masks[image, row, column], row, column] / 40
    torch.testing.assert_close(KIND.loss(scores, masks), expected)
    nothing = KIND.loss(scores, torch.full_like(masks, 255))
    assert nothing.item() == 0.0
    nothing.backward()
    assert torch.isfinite(scores[0].grad).all()  # type: ignore[arg-type]


def test_the_head_learns_faster_and_its_biases_and_norms_are_spared_weight_decay(
    vit: FrozenBackbone,
):
    model = Model(VPTDeep(vit, prompts=2), SetrPup(vit, CLASSES))
    groups = {
        (group["factor"], group["weight_decay"]): group["params"]
        for group in new_optimizer(model, RECIPE).param_groups
    }
    assert set(groups) == {(1.0, 0.01), (10.0, 0.01), (10.0, 0.0)}
    assert [id(p) for p in groups[1.0, 0.01]] == [id(model.method.prompts)]
    assert all(p.ndim == 1 for p in groups[10.0, 0.0])
    assert all(p.ndim == 4 for p in groups[10.0, 0.01])
    trained = sum(len(own) for own in groups.values())
    assert trained == sum(p.requires_grad for p in model.parameters())


def test_the_same_seed_gives_the_same_maps_and_another_seed_others():
    assert train()[-1] == train()[-1]
    assert train()[-1].logits_sha256 != train(seed=1)[-1].logits_sha256


def test_scores_come_at_the_iterations_asked_for_and_the_last_and_change_nothing():
    scores = train(score_at=(2, 4))
    assert [score.epoch for score in scores] == [2, 4, 6]
    windows = 3 * 2  # of three images, each 30 x 40
    assert [score.units for score in scores] == [
        2 * 8 + windows,
        2 * 16 + 2 * windows,
        2 * 24 + 3 * windows,
    ]
    assert scores[-1].logits_sha256 == train()[-1].logits_sha256
    extras = scores[-1].extras
    assert extras is not None
    assert len(extras["class_iou"]) == CLASSES
    assert 0 <= extras["pixel_accuracy"] <= 100


def test_a_plain_loop_gives_the_same_model():
    torch.manual_seed(3)
    net, data = Net(), scenes(6)
    groups = [
        {"params": [*net.method.parameters()], "factor": 1, "weight_decay": 0.01},
        {"params": [net.head[1].weight], "factor": 10, "weight_decay": 0.01},
        {"params": [net.head[1].bias], "factor": 10, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=1.0, momentum=0.9)
    for iteration, crops in enumerate(data.stream(4, 6, 3)):
        for group in optimizer.param_groups:
            peak = 1.6 * 4 / 256 * group["factor"]
            group["lr"] = (peak - 0.0001) * (1 - iteration / 6) ** 0.9 + 0.0001
        images, masks = together(crops, CPU)
        scores = net.head(net.method(images))
        both = [
            F.cross_entropy(own, masks, ignore_index=255, reduction="none").mean()
            for own in (scores, 0.5 * scores)
        ]
        optimizer.zero_grad()
        (both[0] + 0.4 * both[1]).backward()
        optimizer.step()
    held_out, counts = Part(3, 1), np.zeros((CLASSES, CLASSES), np.int64)
    for image, mask in zip(held_out.images, held_out.targets, strict=True):
        pixels = normalised(torch.from_numpy(image)[None])
        sums, seen = torch.zeros(CLASSES, 30, 40), torch.zeros(40)
        for left in (0, 10):
            with torch.no_grad():
                sums[:, :, left : left + 30] += net.head(
                    net.method(pixels[:, :, :, left : left + 30])
                )[0]
            seen[left : left + 30] += 1
        counts += confusion((sums / seen).argmax(0).numpy().astype(np.uint8), mask, CLASSES)
    (score,) = train(seed=3)
    assert score.value == pytest.approx(overlap(counts).miou, abs=1e-9)
    assert score.value > 30


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 5, 9])
def test_a_batch_in_parts_has_the_gradients_of_the_whole(micro_batch: int):
    crops = next(scenes(6).stream(5, 1, 0))
    torch.manual_seed(0)
    whole = Net().train()
    other = copy.deepcopy(whole)
    data = scenes(6)
    expected = backward(KIND, whole, data, crops, RECIPE, CPU)
    found = backward(KIND, other, data, crops, replace(RECIPE, micro_batch=micro_batch), CPU)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(other.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_run_in_parts_passes_that_many_crops_and_fewer_windows_at_once(
    monkeypatch: pytest.MonkeyPatch,
):
    passed: dict[bool, set[int]] = {True: set(), False: set()}
    forward = Net.forward

    def seen(net: Net, images: Tensor) -> Tensor | list[Tensor]:
        passed[net.training].add(len(images))
        return forward(net, images)

    monkeypatch.setattr(Net, "forward", seen)
    train(replace(RECIPE, micro_batch=3))
    assert passed[True] == {3, 1}
    recipes = [replace(RECIPE, micro_batch=micro) for micro in (None, 4, 2, 1)]
    assert [scored_at_once(KIND, recipe) for recipe in recipes] == [8, 8, 4, 2]
    assert scored_at_once(KIND, replace(RECIPE, batch_size=16, micro_batch=1)) == 1


def test_running_statistics_forget_as_much_in_an_iteration_whatever_the_parts():
    norms = [nn.BatchNorm2d(2) for _ in (None, 1)]
    batch = torch.randn(4, 2, 3, 3) + 5
    for norm, micro_batch, parts in zip(norms, (None, 1), (1, 4), strict=True):
        KIND.prepare(norm, replace(RECIPE, micro_batch=micro_batch))
        for _ in range(parts):
            norm(batch)
    torch.testing.assert_close(norms[0].running_mean, norms[1].running_mean)
    assert norms[0].momentum == pytest.approx(0.1)


def test_a_loss_that_isnt_finite_ends_the_run():
    with pytest.raises(Diverged, match="by iteration 6"):
        train(replace(RECIPE, base_lr=1e30))


def test_outputs_that_are_no_numbers_have_no_score():
    class Broken(Net):
        def forward(self, images: Tensor) -> Tensor | list[Tensor]:
            found = super().forward(images)
            return found if isinstance(found, list) else found * float("nan")

    with pytest.raises(Diverged, match="outputs are no finite numbers"):
        list(fit(KIND, Broken, scenes(6), scenes(3, 1), RECIPE, 0, CPU, ()))


def documented(tmp_path: Path) -> str:
    """The method of docs/add_a_method.md, as a user would name it."""
    page = (REPOSITORY / "docs" / "add_a_method.md").read_text()
    block = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert block is not None
    (tmp_path / "mine.py").write_text(block[1])
    return f"{tmp_path / 'mine.py'}:EarlyPrompts"


@pytest.mark.parametrize(
    "method",
    [*ON_VITS, "ivpt(cdc_source=output,da=gate,ar_vector=prompt)", "documented"],
)
def test_every_method_serves_both_kinds_of_head_as_it_is(
    method: str, vit: FrozenBackbone, tmp_path: Path
):
    one = method if method.endswith(")") else f"{method}()"  # peft alone is a family
    (variant,) = parse(documented(tmp_path) if method == "documented" else one)
    torch.manual_seed(0)
    images = torch.randn(2, 3, 30, 30)
    method_of_images = variant.build(vit, variant.arguments)
    linear = Model(method_of_images, LinearHead(method_of_images, CLASSES))
    assert linear(images).shape == (2, CLASSES)
    if "segmentation" in variant.method.refuses:
        return
    built: list[Model] = []

    def build() -> Model:
        built_method = variant.build(vit, variant.arguments)
        built.append(Model(built_method, SetrPup(built_method.vit, CLASSES)))
        return built[-1]

    recipe = replace(RECIPE, iterations=2, batch_size=2, base_lr=0.1, **variant.method.optimizer)
    (score,) = fit(KIND, build, scenes(3), scenes(1), recipe, 0, CPU, ())
    assert 0 <= score.value <= 100
    torch.manual_seed(0)
    fresh = build()
    moved = [
        name
        for (name, now), before in zip(built[0].named_parameters(), fresh.parameters(), strict=True)
        if not torch.equal(now, before)
    ]
    assert any(name.startswith("head.") for name in moved)
    trained = [name for name, p in built[0].method.named_parameters() if p.requires_grad]
    assert any(name.startswith("method.") for name in moved) == bool(trained)
    assert {name.removeprefix("method.") for name in moved if name.startswith("method.")} <= set(
        trained
    )
