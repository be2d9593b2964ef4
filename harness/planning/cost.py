"""The cost of a plan before it runs: forward-image units by counting, hours by a short measured
probe."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from harness.backbones.frozen import FrozenBackbone
from harness.planning.protocols import Settings
from harness.planning.reading import FREE, Reading
from harness.planning.timing import fastest
from harness.tasks.cards import TaskCard
from harness.training.forward import precision
from harness.training.heads import Model, sized
from harness.training.kind import Cost
from harness.training.kinds import kind_of
from harness.training.step import loss_of

if TYPE_CHECKING:
    from harness.planning.variant import Variant


def cell_cost(
    card: TaskCard, protocol: Settings, trials: int, seeds: int, constant_features: bool
) -> Cost:
    """The cost of a cell: an upper bound if trials may be pruned, else exact."""
    return kind_of(card.kind).cost(card, protocol, trials, seeds, constant_features)


def variant_cost(
    variant: "Variant", card: TaskCard, protocol: Settings, trials: int, seeds: int
) -> Cost:
    """What a method's cell spends: as `cell_cost`, and what the method does beside."""
    cost = cell_cost(card, protocol, trials, seeds, variant.has_constant_features(card))
    train, val = (card.sizes.get(split, 0) for split in ("train", "val"))
    arguments = {**protocol.method_arguments, **variant.arguments}
    of_trial, of_final = (
        variant.method.effort(arguments, images, protocol.batch_size)
        for images in (train, train + val if card.train_on == "train+val" else train)
    )
    return replace(
        cost,
        train=cost.train * of_final.stages,
        scored=cost.scored + trials * of_trial.forwards + seeds * of_final.forwards,
    )


@dataclass(frozen=True)
class Pace:
    """Seconds per image on this machine, using all its cores or one GPU."""

    train: float
    scored: float

    def hours(self, cost: Cost, reading: Reading = FREE) -> float:
        """`reading`: what its images take besides, each time that they are used. While a GPU scores
        a batch, the CPU reads the next."""
        train = self.train + reading.train
        scored = (
            max(self.scored, reading.scored)
            if torch.cuda.is_available()
            else self.scored + reading.scored
        )
        return (cost.train * train + cost.scored * scored) / 3600


def probe(
    variant: "Variant", arguments: Mapping[str, Any], vit: FrozenBackbone, card: TaskCard
) -> Pace:
    """Times a training step and a forward of a method on random images: of each, the fastest of a
    few calls."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, vit = kind_of(card.kind), sized(vit, card.crop)
    built = variant.build(vit, arguments)
    head = kind.new_head(built, card.classes, "kaiming_normal")
    model = Model(built, head).to(device)

    def pace(batch: int) -> Pace:
        images = torch.randn(batch, 3, vit.image_size, vit.image_size, device=device)
        targets = kind.targets(batch, vit.image_size, device)

        def train() -> None:
            with precision(device):
                loss_of(kind, model.train(), images, targets).backward()

        def scored() -> None:
            with torch.inference_mode(), precision(device):
                model.eval()(images)

        return Pace(fastest(train, device) / batch, fastest(scored, device) / batch)

    many, few = kind.timed_on
    if device.type == "cuda":
        return pace(many)
    # for a large ViT on a CPU, two images are enough; for a small one, they mostly measure the
    # overhead of a call
    first = pace(few)
    return first if first.train > 0.1 else pace(16)
