"""One training run, top to bottom: seed, model, optimiser, steps, score. What differs between kinds
of task is asked of the `Kind`."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from harness.training.curves import Curves
from harness.training.forward import Diverged, at_once
from harness.training.hooks import Hooks
from harness.training.kind import Kind, R
from harness.training.recipe import new_optimizer
from harness.training.replay import Steps
from harness.training.seeds import seed_all
from harness.training.step import losses
from harness.training.train_split import TrainSplit
from harness.training.unreached import Unreached


@dataclass(frozen=True)
class Score:
    """What a split says of a model after `epoch` epochs; in segmentation, iterations."""

    epoch: int
    value: float
    """In percent."""
    logits_sha256: str
    """Of the logits in record order, as little-endian float32 (of segmentation, of the maps): equal
    hashes mean equal predictions, digit for digit."""
    units: float
    """Forward-image units spent by the run so far: a training image counts 2, a scored one 1."""
    extras: Mapping[str, Any] | None = None
    """What else was measured, where there is more than one number."""
    warnings: tuple[str, ...] = ()
    """What of the run a reader of its score should know, a sentence each."""
    curves: Mapping[str, list[float | None]] = field(default_factory=dict[str, list[float | None]])
    """Of the last epoch's score: `epoch`, and there `loss`, `lr` and what the method logs."""
    seconds_image: float = field(default=0.0, compare=False)
    """What training took so far, scoring aside, over the images passed, each epoch's counted."""


def fit(
    kind: Kind[R],
    build: Callable[[], nn.Module],
    train: Any,
    held_out: Any,
    recipe: R,
    seed: int,
    device: torch.device,
    score_at: Collection[int],
    alive: Callable[[], None] = lambda: None,
) -> Iterator[Score]:
    """Trains what `build` returns on `train`; yields its score on `held_out` after each epoch (or
    iteration, see `Recipe.unit`) of `score_at`, counted from 1, and the last.

    Everything random (initial values, dropout, order of images, crops) follows from `seed`. `alive`
    is called before each step. Raises `Diverged`, `Untrained`.
    """
    seed_all(seed)
    model = build().to(device)
    kind.prepare(model, recipe)
    hooks = Hooks(model, lambda: train_split(kind, model, train, recipe, seed, device))
    started, spent, images = time.perf_counter(), 0.0, 0
    total, units = torch.zeros((), device=device), hooks.begin()
    for stage in range(hooks.stages):
        units += hooks.advance(stage) if stage else 0.0
        optimizer, unreached = new_optimizer(model, recipe), Unreached(model)
        step, curves = Steps(kind, model, train, recipe, device), Curves(recipe.length)
        for done, batches in enumerate(kind.rounds(train, recipe, seed, device), start=1):
            model.train()
            hooks.epoch(done - 1, recipe)
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr(done - 1, group["factor"])
            for batch in batches:
                alive()
                loss = step(batch)
                total += loss
                unreached.look()
                optimizer.step()
                curves.add({"loss": loss, "lr": recipe.lr(done - 1), **hooks.logged()})
                units += 2 * len(batch)
                images += len(batch)
            curves.close(done)
            scored = stage + 1 == hooks.stages and (done in score_at or done == recipe.length)
            if (scored or done % kind.check_every == 0) and not torch.isfinite(total):
                raise Diverged(f"the loss is {total.item()} by {recipe.unit} {done}")
            if scored:  # the look at the loss has waited for the device
                spent += time.perf_counter() - started
                try:
                    found = kind.score(model, held_out, device, scored_at_once(kind, recipe))
                except Diverged as error:
                    raise Diverged(f"{error} after {recipe.unit} {done}") from None
                units += found.units
                yield Score(
                    done,
                    found.value,
                    found.sha256,
                    units,
                    found.extras,
                    unreached.warnings(),
                    curves.read() if done == recipe.length else {},
                    spent / images,
                )
                started = time.perf_counter()


def train_split(
    kind: Kind[R], model: Any, train: Any, recipe: R, seed: int, device: torch.device
) -> TrainSplit:
    """What the method may look at of the images that a run trains on."""

    def epoch() -> Iterator[tuple[Tensor, int]]:
        model.zero_grad()
        seen = 0
        for batches in kind.rounds(train, recipe, seed, device):
            for batch in batches:
                yield from losses(kind, model, train, batch, recipe, device)
                seen += len(batch)
            if seen >= len(train):
                return

    return TrainSplit(
        len(train),
        lambda rows: kind.still(train, rows, device),
        epoch,
        seed,
        scored_at_once(kind, recipe),
        model.head.classes,
    )


def scored_at_once(kind: Kind[R], recipe: R) -> int:
    """Images (or windows) that are scored together: fewer, by the same factor as in training, where
    memory is short."""
    return at_once(kind.scored_together, recipe.micro_batch, recipe.batch_size)
