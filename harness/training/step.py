"""A training step's forward and backward: the loss of a batch, part after part, and its
gradients."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harness.training.forward import precision
from harness.training.heads import Model
from harness.training.kind import Kind, R


def backward(
    kind: Kind[R], model: nn.Module, train: Any, batch: Any, recipe: R, device: torch.device
) -> Float[Tensor, ""]:
    """Adds a batch's gradients to the model's, part after part; gives back its loss."""
    total = torch.zeros((), device=device)
    for loss, _ in losses(kind, model, train, batch, recipe, device):
        loss.backward()  # pyright: ignore[reportUnknownMemberType]  # torch: no annotation
        total += loss.detach()
    return total


def losses(
    kind: Kind[R], model: nn.Module, train: Any, batch: Any, recipe: R, device: torch.device
) -> Iterator[tuple[Float[Tensor, ""], int]]:
    """Of the parts of a batch, each by its share of the whole; and how many images it has."""
    size = recipe.micro_batch or len(batch)
    for start in range(0, len(batch), size):
        part = batch[start : start + size]
        inputs, targets = kind.batch(train, part, device)
        with torch.enable_grad(), precision(device):
            loss = loss_of(kind, model, inputs, targets) * (len(part) / len(batch))
        yield loss, len(part)


def loss_of(kind: Kind[R], model: nn.Module, inputs: Tensor, targets: Tensor) -> Float[Tensor, ""]:
    """The kind's loss, and what the method adds to it."""
    loss = kind.loss(model(inputs), targets)
    penalty = model.penalty(targets) if isinstance(model, Model) else None
    return loss if penalty is None else loss + penalty
