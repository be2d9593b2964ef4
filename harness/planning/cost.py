"""What a plan costs before it runs: forward-image units by count, hours by a short measured
probe."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.planning.protocols import Segmentation, Settings
from harness.tasks.cards import TaskCard

if TYPE_CHECKING:
    from harness.planning.variants import Variant


@dataclass(frozen=True)
class Cost:
    """Forward-image units of one cell: a training image counts 2 (forward, and backward through
    activations), a scored image 1.

    In segmentation an image is a crop or a window.
    """

    trials: int
    seeds: int
    train: float
    """Images that are trained on, each epoch counted."""
    scored: float
    """Images that are only passed forward."""

    @property
    def units(self) -> float:
        return 2 * self.train + self.scored


def cell_cost(
    card: TaskCard, protocol: Settings, trials: int, seeds: int, constant_features: bool
) -> Cost:
    """An upper bound where trials may be pruned, else exact. Cached features cost one forward of
    each image and then nothing."""
    train, val, test = (card.sizes.get(split, 0) for split in ("train", "val", "test"))
    if isinstance(protocol, Segmentation):
        once, more = windows(card)
        crops = (trials + seeds) * protocol.iterations * protocol.largest_batch
        tests = once + (more if protocol.multi_scale else 0)
        return Cost(
            trials,
            seeds,
            crops,
            trials * val * once * len(protocol.score_at()) + seeds * test * tests,
        )
    final = train + val if card.train_on == "train+val" else train
    if constant_features:
        return Cost(trials, seeds, 0.0, (train + val if trials else 0) + final + test)
    trained = trials * train * protocol.epochs + seeds * final * protocol.epochs
    return Cost(trials, seeds, trained, trials * val * len(protocol.score_at()) + seeds * test)


def windows(card: TaskCard) -> tuple[int, int]:
    """Of an image of 4 by 3, a segmentation task's windows: at one scale, and at all with their
    mirror images."""
    from harness.data.augment import scaled
    from harness.training.sliding import MULTI_SCALE, SINGLE_SCALE, places

    assert card.crop is not None
    counts = []
    for views in (SINGLE_SCALE, MULTI_SCALE):
        sizes = [scaled(300, 400, card.crop, view.scale) for view in views]
        counts.append(
            sum(
                len(places(height, card.crop)) * len(places(width, card.crop))
                for height, width in sizes
            )
        )
    return counts[0], counts[1]


@dataclass(frozen=True)
class Pace:
    """Seconds an image takes on this machine, all its cores or one GPU at work."""

    train: float
    scored: float

    def hours(self, cost: Cost) -> float:
        return (cost.train * self.train + cost.scored * self.scored) / 3600


def probe(variant: "Variant", arguments: Mapping[str, Any], vit: Any, card: TaskCard) -> Pace:
    """Times one training step and one forward of a method on random images, after one of each to
    warm up."""
    import torch

    from harness.training import segmentation
    from harness.training.classification import precision
    from harness.training.heads import Model, new_head, sized

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vit = sized(vit, card.crop)
    built = variant.build(vit, arguments)
    model = Model(built, new_head(built.vit, card.classes, card.crop)).to(device)
    loss = torch.nn.functional.cross_entropy if card.crop is None else segmentation.loss

    def pace(batch: int) -> Pace:
        images = torch.randn(batch, 3, vit.image_size, vit.image_size, device=device)
        labels = torch.zeros(
            batch, *(() if card.crop is None else images.shape[2:]), dtype=torch.long, device=device
        )

        def train() -> None:
            with precision(device):
                loss(model.train()(images), labels).backward()

        def scored() -> None:
            with torch.inference_mode(), precision(device):
                model.eval()(images)

        return Pace(_seconds(train, device) / batch, _seconds(scored, device) / batch)

    if device.type == "cuda":
        return pace(64 if card.crop is None else 4)
    few = pace(
        2 if card.crop is None else 1
        # of a large ViT on a CPU, two images tell enough; of a small one, they mostly tell what a
        # call costs
    )
    return few if few.train > 0.1 else pace(16)


def _seconds(work: Any, device: Any) -> float:
    import torch

    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
