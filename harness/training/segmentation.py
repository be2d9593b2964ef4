"""Segmentation: a class for each pixel. Iterations on random crops with a polynomial schedule,
SETR's head, mIoU by sliding windows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from harness.data.augment import scaled
from harness.data.scenes import AHEAD, Crop, Scenes, together
from harness.tasks.cards import TaskCard
from harness.tasks.kinds import IGNORED, SEGMENTATION
from harness.training.heads import HeadInit, SetrPup
from harness.training.kind import Cost, Extra, Kind, Look, Measurement, Schedule
from harness.training.method import Method
from harness.training.metrics import Overlap, overlap
from harness.training.recipe import Recipe
from harness.training.sliding import (
    MULTI_SCALE,
    SINGLE_SCALE,
    TOGETHER,
    Sliding,
    View,
    measure,
    places,
)

AUXILIARY_WEIGHT = 0.4
MEMORY_OF_BATCH_NORM = 0.1
"""The share of an iteration's statistics in the running ones: torch's default. A run has one
device, so there is nothing to synchronise."""


@dataclass(frozen=True, kw_only=True)
class SegmentationRecipe(Recipe):
    """A polynomial from the peak to the lowest; one learning rate an iteration."""

    iterations: int
    power: float
    lowest_lr: float
    """What the schedule ends at, for method and head alike; not scaled."""

    unit: ClassVar[str] = "iteration"

    @property
    def length(self) -> int:
        return self.iterations

    def lr(self, unit: int, factor: float = 1.0) -> float:
        peak = self.peak(factor)
        left = (1 - unit / self.iterations) ** self.power
        return (
            (peak - self.lowest_lr) * left + self.lowest_lr
            if peak > self.lowest_lr
            else peak * left
        )


class Segmentation(Kind[SegmentationRecipe]):
    """Cross-entropy of SETR's main and auxiliary heads; scored by mIoU at the masks' own size."""

    task = SEGMENTATION
    recipe = SegmentationRecipe
    scored_together = TOGETHER
    check_every = 1000
    timed_on = (4, 1)
    image = "In segmentation, an image is a crop or a sliding window, counted for images of 4 by 3."

    def check_method(self, method: Method) -> None:
        """Raises `ValueError` for one with features of its own: the head reads tokens."""
        if method.width != method.vit.dim:
            raise ValueError(
                f"{type(method).__name__} makes features of an image ({method.width} wide), and"
                " segmentation reads its tokens"
            )

    def new_head(self, method: Method, classes: int, init: HeadInit) -> SetrPup:
        """Its initial values are its own."""
        self.check_method(method)
        return SetrPup(method.vit, classes)

    def prepare(self, model: nn.Module, recipe: SegmentationRecipe) -> None:
        """Batch norm's running statistics, updated once a part, forget as much in an iteration as
        if the batch were passed whole."""
        parts = -(-recipe.batch_size // (recipe.micro_batch or recipe.batch_size))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1 - (1 - MEMORY_OF_BATCH_NORM) ** (1 / parts)

    def rounds(
        self, train: Scenes, recipe: SegmentationRecipe, seed: int, device: torch.device
    ) -> Iterator[list[list[Crop]]]:
        """A batch of crops an iteration."""
        ahead = AHEAD if device.type == "cuda" else 0
        for crops in train.stream(recipe.batch_size, recipe.iterations, seed, ahead):
            yield [crops]

    def batch(self, train: Scenes, part: list[Crop], device: torch.device) -> tuple[Tensor, Tensor]:
        return together(part, device, train.statistics)

    def still(
        self, train: Scenes, rows: Int64[Tensor, " batch"], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """The middle of each image at scale 1, and its mask."""
        return self.batch(train, [train.middle(int(row)) for row in rows], device)

    def loss(
        self,
        outputs: list[Float[Tensor, "batch class height width"]],
        targets: Int64[Tensor, "batch height width"],
    ) -> Float[Tensor, ""]:
        """Cross-entropy of the main head, and of the auxiliary ones times 0.4; each a mean over all
        pixels, in which ignored ones are zero.

        So a crop without a pixel that counts has loss 0, not NaN, and the loss of a batch is the
        mean of its crops'. As MMSegmentation's.
        """
        each = [
            F.cross_entropy(own, targets, ignore_index=IGNORED, reduction="sum") / targets.numel()
            for own in outputs
        ]
        return each[0] + AUXILIARY_WEIGHT * sum(each[1:], torch.zeros_like(each[0]))

    def score(
        self, model: Any, held_out: Scenes, device: torch.device, at_once: int
    ) -> Measurement:
        found = measure(model, held_out, model.head.classes, device, at_once=at_once)
        own = overlap(found.confusion)
        return Measurement(own.miou, found.sha256, found.windows, extras_of(own))

    def targets(self, images: int, side: int, device: torch.device) -> Tensor:
        return torch.zeros(images, side, side, dtype=torch.long, device=device)

    def cost(
        self, card: TaskCard, schedule: Schedule, trials: int, seeds: int, constant_features: bool
    ) -> Cost:
        """Images are random crops: no features are constant."""
        once, more = windows(card)
        crops = (trials + seeds) * schedule.last * schedule.largest_batch
        tests = once + (more if schedule.multi_scale else 0)
        scored = trials * card.sizes["val"] * once * len(schedule.score_at())
        return Cost(trials, seeds, crops, scored + seeds * card.sizes["test"] * tests)

    def at_several_scales(self, model: Any, test: Scenes, device: torch.device) -> Extra:
        """What six scales and their mirror images add to the extras: a score and its parts as at
        one scale, named `..._ms`."""
        found = measure(model, test, model.head.classes, device, MULTI_SCALE)
        own = overlap(found.confusion)
        return Extra(
            {
                "miou_ms": own.miou,
                **{f"{name}_ms": value for name, value in extras_of(own).items()},
                "maps_sha256_ms": found.sha256,
                "windows_ms": found.windows,
            },
            found.windows,
        )

    def looks(
        self, model: Any, test: Scenes, rows: Sequence[int], device: torch.device
    ) -> list[Look]:
        looks: list[Look] = []
        for row in rows:
            image, mask = test.scene(row)
            classes, statistics = model.head.classes, test.statistics
            sliding = Sliding(
                model, image, test.crop, test.size, classes, device, statistics=statistics
            )
            looks.append(Look(row, image, mask, sliding.classes_of_pixels()))
        return looks


def windows(card: TaskCard) -> tuple[int, int]:
    """Of an image of 4 by 3, a task's windows: at one scale, and at all with their mirror
    images."""
    assert card.crop is not None
    side = card.crop

    def counted(views: Sequence[View]) -> int:
        sizes = [scaled(300, 400, side, view.scale) for view in views]
        return sum(len(places(height, side)) * len(places(width, side)) for height, width in sizes)

    return counted(SINGLE_SCALE), counted(MULTI_SCALE)


def extras_of(own: Overlap) -> dict[str, Any]:
    """In percent; null where a class has no score."""
    return {"pixel_accuracy": own.pixel_accuracy, "class_iou": list(own.class_iou)}
