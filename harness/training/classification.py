"""Classification: one class an image. Epochs with a cosine schedule, a linear head, top-1."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from harness.tasks.cards import TaskCard
from harness.tasks.kinds import CLASSIFICATION
from harness.training.forward import EVAL_BATCH, Batches, Diverged, Drawn, predict, sha256_of
from harness.training.heads import HeadInit, LinearHead
from harness.training.kind import Cost, Kind, Measurement, Schedule
from harness.training.method import Method
from harness.training.metrics import top1
from harness.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class ClassificationRecipe(Recipe):
    """Linear warm-up, then a cosine; one learning rate an epoch."""

    epochs: int
    warmup_epochs: int
    warmup_from_zero: bool = False
    first_lr: float | None = None
    """What the warm-up starts from; not scaled."""
    lowest_lr: float = 0.0
    """What the cosine ends at; not scaled."""
    cosine_over: Literal["rest", "all"] = "rest"
    """Whether the cosine begins behind the warm-up, or with the first epoch as in timm."""

    unit: ClassVar[str] = "epoch"

    @property
    def length(self) -> int:
        return self.epochs

    def lr(self, unit: int, factor: float = 1.0) -> float:
        """The first epoch has `first_lr`, else a `warmup_epochs`-th of the peak; with
        `warmup_from_zero` 0, as in VPT's released code: it trains nothing."""
        peak = self.peak(factor)
        if unit < self.warmup_epochs and self.first_lr is not None:
            first = min(self.first_lr, peak)
            return first + (peak - first) * unit / self.warmup_epochs
        if unit < self.warmup_epochs:
            return peak * (unit + (0 if self.warmup_from_zero else 1)) / self.warmup_epochs
        begun = self.warmup_epochs if self.cosine_over == "rest" else 0
        done = (unit - begun) / max(1, self.epochs - begun)
        lowest = min(self.lowest_lr, peak)
        return lowest + (peak - lowest) * 0.5 * (1 + math.cos(math.pi * done))


class Classification(Kind[ClassificationRecipe]):
    """Cross-entropy on a linear head; scored by top-1 accuracy on whole images."""

    task = CLASSIFICATION
    recipe = ClassificationRecipe
    scored_together = EVAL_BATCH
    timed_on = (64, 2)

    def new_head(self, method: Method, classes: int, init: HeadInit) -> LinearHead:
        return LinearHead(method, classes, init)

    def rounds(
        self, train: Batches, recipe: ClassificationRecipe, seed: int, device: torch.device
    ) -> Iterator[tuple[Tensor, ...]]:
        """Of each epoch all images in a new order, cut into batches of rows; the last is shorter
        where they don't come out even."""
        order = torch.Generator().manual_seed(seed)
        for _ in range(recipe.epochs):
            yield torch.split(torch.randperm(len(train), generator=order), recipe.batch_size)

    def batch(
        self, train: Batches, part: Int[Tensor, " batch"], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        return train.batch(part, device)

    def still(
        self, train: Drawn, rows: Int[Tensor, " batch"], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        return train.still().batch(rows, device)

    def loss(
        self, outputs: Float[Tensor, "batch class"], targets: Int[Tensor, " batch"]
    ) -> Float[Tensor, ""]:
        return nn.functional.cross_entropy(outputs, targets)

    def score(
        self, model: nn.Module, held_out: Batches, device: torch.device, at_once: int
    ) -> Measurement:
        logits = predict(model, held_out, device, at_once)
        if not torch.isfinite(logits).all():
            raise Diverged("the model's outputs are no finite numbers")
        return Measurement(self.metric(logits, held_out.labels), sha256_of(logits), len(held_out))

    def metric(self, logits: Float[Tensor, "image class"], labels: Int[Tensor, " image"]) -> float:
        """In percent."""
        return top1(logits, labels)

    def targets(self, images: int, side: int, device: torch.device) -> Tensor:
        return torch.zeros(images, dtype=torch.long, device=device)

    def cost(
        self, card: TaskCard, schedule: Schedule, trials: int, seeds: int, constant_features: bool
    ) -> Cost:
        """Cached features cost one forward of each image and then nothing."""
        train, val, test = (card.sizes.get(split, 0) for split in ("train", "val", "test"))
        final = train + val if card.train_on == "train+val" else train
        if constant_features:
            return Cost(trials, seeds, 0.0, (train + val if trials else 0) + final + test)
        trained = trials * train * schedule.last + seeds * final * schedule.last
        return Cost(trials, seeds, trained, trials * val * len(schedule.score_at()) + seeds * test)
