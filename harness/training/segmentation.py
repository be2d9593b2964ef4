"""One training run of a segmentation task, top to bottom: seed, model, optimiser, iterations,
score. `train.py` is classification's."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from harness.data.normalization import IMAGENET, Statistics
from harness.data.scenes import AHEAD, Crop, Scenes, together
from harness.tasks.cards import IGNORED
from harness.training.classification import (
    Diverged,
    Score,
    Unreached,
    is_spared,
    precision,
    seed_all,
)
from harness.training.metrics import overlap
from harness.training.sliding import MULTI_SCALE, TOGETHER, Measured, measure

AUXILIARY_WEIGHT = 0.4
CHECK_EVERY = 1000
"""Iterations between looks at the loss: each makes a GPU wait."""
MEMORY_OF_BATCH_NORM = 0.1
"""The share of an iteration's statistics in the running ones: torch's default. A run has one
device, so there is nothing to synchronise."""


@dataclass(frozen=True)
class Recipe:
    """How to optimise: the protocol's choices with one point of its search space filled in."""

    optimizer: Literal["sgd", "adamw"]
    base_lr: float
    """Learning rate at batch size 256; the one used is base_lr * batch_size / 256, as in
    classification."""
    weight_decay: float
    batch_size: int
    iterations: int
    head_factor: float
    """The head's learning rate, in the method's."""
    power: float
    lowest_lr: float
    """What the schedule ends at, for method and head alike; not scaled."""
    momentum: float = 0.9
    eps: float = 1e-8
    no_decay: Literal["head", "biases", "vectors"] = "head"
    micro_batch: int | None = None
    """Crops that go through the model at once, where memory is short; a step is still one of
    `batch_size`. None: the whole batch.

    The loss of a batch is the mean of its crops', so the step is the same up to rounding, but for
    batch norm, which sees a part at a time.
    """

    def lr(self, iteration: int, factor: float = 1.0) -> float:
        """A polynomial from the peak to the lowest; `iteration` counts from 0."""
        peak = factor * self.base_lr * self.batch_size / 256
        left = (1 - iteration / self.iterations) ** self.power
        return (
            (peak - self.lowest_lr) * left + self.lowest_lr
            if peak > self.lowest_lr
            else peak * left
        )


def fit(
    build: Callable[[], Any],
    train: Scenes,
    held_out: Scenes,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    score_at: Collection[int],
) -> Iterator[Score]:
    """Trains what `build` returns on `train`; yields its mIoU on `held_out` after each iteration of
    `score_at` (from 1) and the last.

    Everything random (initial values, dropout, order of images, crops) follows from `seed`. Raises
    `Diverged`, `Untrained`.
    """
    seed_all(seed)
    model = build().to(device)
    optimizer, unreached = new_optimizer(model, recipe), Unreached(model)
    remember_as_one(model, recipe)
    total, units = torch.zeros((), device=device), 0.0
    batches = train.stream(
        recipe.batch_size, recipe.iterations, seed, AHEAD if device.type == "cuda" else 0
    )
    for iteration, crops in enumerate(batches):
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr(iteration, group["factor"])
        total += step(model, optimizer, crops, recipe, device, unreached, train.statistics)
        units += 2 * len(crops)
        done = iteration + 1
        scored = done in score_at or done == recipe.iterations
        if (scored or done % CHECK_EVERY == 0) and not torch.isfinite(total):
            raise Diverged(f"the loss is {total.item()} by iteration {done}")
        if scored:
            found = measure(
                model, held_out, model.head.classes, device, at_once=windows_at_once(recipe)
            )
            units += found.windows
            yield Score(
                done,
                overlap(found.confusion).miou,
                found.sha256,
                units,
                extras_of(found),
                unreached.warnings(),
            )


def step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    crops: list[Crop],
    recipe: Recipe,
    device: torch.device,
    unreached: Unreached,
    statistics: Statistics = IMAGENET,
) -> Tensor:
    """One step on a batch, part after part; its loss, without a gradient."""
    optimizer.zero_grad()
    total, at_once = torch.zeros((), device=device), recipe.micro_batch or len(crops)
    for start in range(0, len(crops), at_once):
        some = crops[start : start + at_once]
        images, masks = together(some, device, statistics)
        with precision(device):
            part = loss(model(images), masks) * (len(some) / len(crops))
        part.backward()
        total += part.detach()
    unreached.look()
    optimizer.step()
    return total


def loss(
    scores: list[Float[Tensor, "batch class height width"]],
    masks: Int64[Tensor, "batch height width"],
) -> Tensor:
    """Cross-entropy of the main head, and of the auxiliary ones times 0.4; each a mean over all
    pixels, in which ignored ones are zero.

    So a crop without a pixel that counts has loss 0, not NaN, and the loss of a batch is the mean
    of its crops'. As MMSegmentation's.
    """
    each = [
        F.cross_entropy(own, masks, ignore_index=IGNORED, reduction="sum") / masks.numel()
        for own in scores
    ]
    return each[0] + AUXILIARY_WEIGHT * sum(each[1:], torch.zeros_like(each[0]))


def new_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW over what is trained; the head `head_factor` times as fast.

    Weight decay spares the head's biases and norms, and what `no_decay` names.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            in_head = name.startswith("head.")
            spared = (in_head and parameter.ndim == 1) or is_spared(
                name, parameter, recipe.no_decay
            )
            decay = 0.0 if spared else recipe.weight_decay
            groups.setdefault((recipe.head_factor if in_head else 1.0, decay), []).append(parameter)
    settings = [
        {"params": own, "factor": factor, "weight_decay": decay}
        for (factor, decay), own in groups.items()
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(settings, lr=recipe.lr(0), momentum=recipe.momentum)
    return torch.optim.AdamW(settings, lr=recipe.lr(0), eps=recipe.eps)


def remember_as_one(model: nn.Module, recipe: Recipe) -> None:
    """Batch norm's running statistics, updated once a part, forget as much in an iteration as if
    the batch were passed whole."""
    parts = -(-recipe.batch_size // (recipe.micro_batch or recipe.batch_size))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1 - (1 - MEMORY_OF_BATCH_NORM) ** (1 / parts)


def windows_at_once(recipe: Recipe) -> int:
    """Windows that are scored at once: fewer, by the same factor as in training, where memory is
    short."""
    return max(1, TOGETHER * (recipe.micro_batch or recipe.batch_size) // recipe.batch_size)


def multi_scale(model: Any, held_out: Scenes, device: torch.device) -> dict[str, Any]:
    """What six scales and their mirror images add to the extras: a score and its parts as at one
    scale, named `..._ms`."""
    found = measure(model, held_out, model.head.classes, device, MULTI_SCALE)
    own = extras_of(found)
    return {
        "miou_ms": overlap(found.confusion).miou,
        **{f"{name}_ms": value for name, value in own.items()},
        "maps_sha256_ms": found.sha256,
        "windows_ms": found.windows,
    }


def extras_of(found: Measured) -> dict[str, Any]:
    """In percent; null where a class has no score."""
    own = overlap(found.confusion)
    return {"pixel_accuracy": own.pixel_accuracy, "class_iou": list(own.class_iou)}
