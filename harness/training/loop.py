"""One training run, top to bottom: seed, model, optimiser, steps, score. What differs between kinds
of task is asked of the `Kind`."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harness.training.forward import Diverged, at_once, precision
from harness.training.kind import Kind, R
from harness.training.recipe import new_optimizer
from harness.training.seeds import seed_all
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


def fit(
    kind: Kind[R],
    build: Callable[[], nn.Module],
    train: Any,
    held_out: Any,
    recipe: R,
    seed: int,
    device: torch.device,
    score_at: Collection[int],
) -> Iterator[Score]:
    """Trains what `build` returns on `train`; yields its score on `held_out` after each epoch (or
    iteration, see `Recipe.unit`) of `score_at`, counted from 1, and the last.

    Everything random (initial values, dropout, order of images, crops) follows from `seed`. Raises
    `Diverged`, `Untrained`.
    """
    seed_all(seed)
    model = build().to(device)
    optimizer, unreached = new_optimizer(model, recipe), Unreached(model)
    kind.prepare(model, recipe)
    total, units = torch.zeros((), device=device), 0.0
    for done, batches in enumerate(kind.rounds(train, recipe, seed, device), start=1):
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr(done - 1, group["factor"])
        for batch in batches:
            optimizer.zero_grad()
            total += backward(kind, model, train, batch, recipe, device)
            unreached.look()
            optimizer.step()
            units += 2 * len(batch)
        scored = done in score_at or done == recipe.length
        if (scored or done % kind.check_every == 0) and not torch.isfinite(total):
            raise Diverged(f"the loss is {total.item()} by {recipe.unit} {done}")
        if scored:
            try:
                found = kind.score(model, held_out, device, scored_at_once(kind, recipe))
            except Diverged as error:
                raise Diverged(f"{error} after {recipe.unit} {done}") from None
            units += found.units
            yield Score(done, found.value, found.sha256, units, found.extras, unreached.warnings())


def backward(
    kind: Kind[R], model: nn.Module, train: Any, batch: Any, recipe: R, device: torch.device
) -> Float[Tensor, ""]:
    """Adds a batch's gradients to the model's, part after part; gives back its loss."""
    total, size = torch.zeros((), device=device), recipe.micro_batch or len(batch)
    for start in range(0, len(batch), size):
        part = batch[start : start + size]
        inputs, targets = kind.batch(train, part, device)
        with precision(device):
            loss = kind.loss(model(inputs), targets) * (len(part) / len(batch))
        loss.backward()  # pyright: ignore[reportUnknownMemberType]  # torch: no annotation
        total += loss.detach()
    return total


def scored_at_once(kind: Kind[R], recipe: R) -> int:
    """Images (or windows) that are scored together: fewer, by the same factor as in training, where
    memory is short."""
    return at_once(kind.scored_together, recipe.micro_batch, recipe.batch_size)
