"""The training run: schedule, determinism, and a plain loop beside it."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.training.classification import Classification
from harness.training.classification import ClassificationRecipe as Recipe
from harness.training.forward import Diverged, sha256_of
from harness.training.loop import Score, fit
from harness.training.recipe import new_optimizer

CPU = torch.device("cpu")
KIND = Classification()
RECIPE = Recipe(
    optimizer="sgd", base_lr=2.0, weight_decay=0.01, batch_size=8, epochs=4, warmup_epochs=2
)


@dataclass
class Points:
    """A split of vectors."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        return self.inputs[index], self.labels[index]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


def points(n: int, seed: int = 0) -> Points:
    rng = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, 6, generator=rng)
    return Points(inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0).long())


def train(recipe: Recipe = RECIPE, seed: int = 0, score_at: tuple[int, ...] = ()) -> list[Score]:
    return list(fit(KIND, Net, points(20), points(9, seed=1), recipe, seed, CPU, score_at))


def test_learning_rate_warms_up_from_the_first_epoch_and_ends_near_zero():
    recipe = replace(RECIPE, base_lr=1.0, batch_size=64, epochs=100, warmup_epochs=10)
    assert recipe.lr(0) == pytest.approx(0.25 / 10)
    assert recipe.lr(9) == recipe.lr(10) == pytest.approx(0.25)
    assert recipe.lr(55) == pytest.approx(0.125)
    assert 0 < recipe.lr(99) < 1e-3
    assert all(recipe.lr(e) > recipe.lr(e + 1) for e in range(10, 99))


def test_warmup_from_zero_is_the_released_schedule():
    """KMnP/vpt's lr_scheduler.py: e / 10 of the peak in the first ten epochs, then half a cosine
    wave over the other ninety."""
    recipe = replace(
        RECIPE, base_lr=1.0, batch_size=128, epochs=100, warmup_epochs=10, warmup_from_zero=True
    )
    for epoch in range(100):
        factor = epoch / 10 if epoch < 10 else 0.5 + 0.5 * math.cos(math.pi * (epoch - 10) / 90)
        assert recipe.lr(epoch) == pytest.approx(0.5 * factor, abs=1e-15)
    assert sum(recipe.lr(epoch) for epoch in range(100)) == pytest.approx(0.5 * 50)
    *_, at_zero = fit_weights(replace(recipe, epochs=1))
    *_, before = fit_weights(replace(recipe, epochs=1, base_lr=0.0))
    assert torch.equal(at_zero, before)  # an epoch that trains nothing


def fit_weights(recipe: Recipe) -> list[Tensor]:
    built: list[Net] = []

    def build() -> nn.Module:
        built.append(Net())
        return built[-1]

    list(fit(KIND, build, points(20), points(9), recipe, 0, CPU, ()))
    return [net.head.weight.detach() for net in built]


def test_the_same_seed_gives_the_same_logits_and_another_seed_others():
    assert train()[-1].logits_sha256 == train()[-1].logits_sha256
    assert train()[-1].logits_sha256 != train(seed=1)[-1].logits_sha256


def test_scores_come_at_the_epochs_asked_for_and_the_last():
    scores = train(score_at=(1, 3))
    assert [score.epoch for score in scores] == [1, 3, 4]
    assert [score.units for score in scores] == [2 * 20 + 9, 2 * 60 + 2 * 9, 2 * 80 + 3 * 9]


def test_every_step_says_that_it_is_alive():
    seen: list[int] = []
    for _ in fit(KIND, Net, points(20), points(7), RECIPE, 0, CPU, (), lambda: seen.append(1)):
        pass
    assert len(seen) == 3 * RECIPE.epochs


def test_scoring_in_between_changes_nothing():
    assert train(score_at=(1, 2, 3))[-1].logits_sha256 == train()[-1].logits_sha256


def test_a_plain_loop_gives_the_same_model():
    torch.manual_seed(5)
    net, data, order = Net(), points(20), torch.Generator().manual_seed(5)
    optimizer = torch.optim.SGD(
        [{"params": [net.head.weight], "weight_decay": 0.01}, {"params": [net.head.bias]}],
        lr=1.0,
        momentum=0.9,
    )
    for epoch in range(4):
        warm = [0.5, 1.0, 1.0, 0.5 * (1 + math.cos(math.pi / 2))][epoch]
        for group in optimizer.param_groups:
            group["lr"] = warm * 2.0 * 8 / 256
        for index in torch.randperm(20, generator=order).split(8):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(data.inputs[index]), data.labels[index]).backward()
            optimizer.step()
    held_out = points(9, seed=1)
    value = 100 * (net(held_out.inputs).argmax(1) == held_out.labels).float().mean().item()
    assert train(seed=5)[-1].value == pytest.approx(value)


def test_a_loss_that_isnt_finite_ends_the_run():
    with pytest.raises(Diverged, match="epoch"):
        train(replace(RECIPE, base_lr=1e30))


def test_only_the_heads_bias_is_spared_weight_decay():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.method, self.head = nn.Linear(2, 2), nn.Linear(2, 2)

    model = Two()
    decayed, spared = new_optimizer(model, RECIPE).param_groups
    assert [id(p) for p in spared["params"]] == [id(model.head.bias)]
    assert decayed["weight_decay"] == 0.01
    assert len(decayed["params"]) == 3


class Several(nn.Module):
    """Tensors of all kinds, below a method and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.method = nn.ModuleDict({"map": nn.Linear(2, 2), "norm": nn.LayerNorm(2)})
        self.method.prompts = nn.Parameter(torch.zeros(3, 2))  # type: ignore[assignment]
        self.method.gamma = nn.Parameter(torch.zeros(2))  # type: ignore[assignment]
        self.head = nn.Linear(2, 2)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    ("rule", "spared"),
    [
        ("head", {"head.bias"}),
        ("biases", {"head.bias", "method.map.bias", "method.norm.bias"}),
        (
            "vectors",
            {
                "head.bias",
                "method.map.bias",
                "method.norm.bias",
                "method.norm.weight",
                "method.gamma",
            },
        ),
    ],
)
def test_what_weight_decay_spares(rule: Any, spared: set[str], optimizer: Any):
    """By a step without gradients, in which decay alone moves a tensor."""
    model = Several()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
            parameter.grad = torch.zeros_like(parameter)
    made = new_optimizer(
        model, replace(RECIPE, no_decay=rule, optimizer=optimizer, warmup_epochs=0)
    )
    made.step()
    assert {
        name for name, parameter in model.named_parameters() if (parameter == 1.0).all()
    } == spared


def test_the_optimiser_has_the_recipes_momentum_and_eps():
    model = Several()
    assert new_optimizer(model, replace(RECIPE, momentum=0.5)).param_groups[0]["momentum"] == 0.5
    assert (
        new_optimizer(model, replace(RECIPE, optimizer="adamw", eps=1e-6)).param_groups[0]["eps"]
        == 1e-6
    )


def test_without_a_micro_batch_nothing_changes_bit_for_bit():
    plain = train(score_at=(1, 2, 3))
    assert train(replace(RECIPE, micro_batch=8), score_at=(1, 2, 3)) == plain
    torch.manual_seed(0)
    net, data, order = Net(), points(20), torch.Generator().manual_seed(0)
    optimizer = new_optimizer(net, RECIPE)
    for epoch in range(RECIPE.epochs):  # the loop as it was without micro-batches
        for group in optimizer.param_groups:
            group["lr"] = RECIPE.lr(epoch)
        for index in torch.randperm(20, generator=order).split(8):
            loss = nn.functional.cross_entropy(net(data.inputs[index]), data.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.inference_mode():
        assert sha256_of(net(points(9, seed=1).inputs)) == plain[-1].logits_sha256


@pytest.mark.parametrize("micro_batch", [1, 3, 5])
def test_a_micro_batch_takes_the_same_steps_up_to_rounding(micro_batch: int):
    """20 images in batches of 8: the last batch is of 4, and parts are uneven."""

    def weights(recipe: Recipe) -> tuple[Tensor, list[int]]:
        kept, sizes = [], []

        def build() -> nn.Module:
            net = Net().double()
            net.register_forward_pre_hook(lambda _, images: sizes.append(len(images[0])))
            kept.append(net)
            return net

        data = points(20)
        data.inputs = data.inputs.double()
        *_, _ = fit(KIND, build, data, data, recipe, 0, CPU, ())
        return kept[0].head.weight.detach(), sizes

    whole, _ = weights(RECIPE)
    parts, sizes = weights(replace(RECIPE, micro_batch=micro_batch))
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)
    assert max(sizes[:-1]) == micro_batch


def test_outputs_that_are_no_numbers_after_the_last_step_are_no_score():
    class Late(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(x) * (1.0 if self.training else float("nan"))

    with pytest.raises(Diverged, match="after epoch 4"):
        list(fit(KIND, Late, points(20), points(9), RECIPE, 0, CPU, ()))
