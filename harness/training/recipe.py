"""How a run optimises: what all recipes share, and the optimiser. A kind of task adds its
schedule."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from harness.training.method import Factors, method_of

NoDecay = Literal["head", "biases", "vectors"]
"""What weight decay spares: of the head its biases and norms; all biases too; or all 1-d tensors
too."""


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """The protocol's choices with one point of its search space filled in."""

    optimizer: Literal["sgd", "adamw"]
    base_lr: float
    """Learning rate at batch size 256; the one used is base_lr * batch_size / 256."""
    weight_decay: float
    batch_size: int
    momentum: float = 0.9
    """SGD's."""
    eps: float = 1e-8
    """AdamW's."""
    no_decay: NoDecay = "head"
    head_factor: float = 1.0
    """The head's learning rate, in the method's."""
    head_weight_decay: float | None = None
    """The head's, where it has one of its own."""
    drop_path: float = 0.0
    """Stochastic depth of the backbone's last block while it trains: see
    `FrozenViT.drop_paths`."""
    micro_batch: int | None = None
    """Images that go through the model at once, where memory is short; a step is still one of
    `batch_size`. None: the whole batch.

    The mean of a batch is its parts' means weighted by their sizes, so the step is the same up to
    rounding. Not so for what looks at a batch as a whole (batch norm sees a part), and dropout
    draws other masks.
    """

    unit: ClassVar[str]
    """What the learning rate stays the same for, and scores are counted in: epoch, iteration."""

    @property
    @abstractmethod
    def length(self) -> int:
        """Units that a run has."""

    @abstractmethod
    def lr(self, unit: int, factor: float = 1.0) -> float:
        """The learning rate in a unit, counted from 0, of tensors that learn `factor` times as
        fast as the method's."""

    def peak(self, factor: float = 1.0) -> float:
        """The highest learning rate of a run."""
        return factor * self.base_lr * self.batch_size / 256

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Of the fields that a protocol says or a search chooses."""
        return tuple(field.name for field in fields(cls) if field.name != "micro_batch")


def new_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW over what is trained; the head `head_factor` times as fast, which
    a group's `factor` says, and the method's tensors as its `factors` have it.

    Weight decay spares the head's biases and norms, and what `no_decay` names.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    method = method_of(model)
    factors: Mapping[str, Factors] = method.factors() if method is not None else {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            own = factors_of(name, factors)
            lr, decay = own.lr, own.decay * recipe.weight_decay
            if name.startswith("head."):
                lr *= recipe.head_factor
                if recipe.head_weight_decay is not None:
                    decay = own.decay * recipe.head_weight_decay
            if is_spared(name, parameter, recipe.no_decay):
                decay = 0.0
            groups.setdefault((lr, decay), []).append(parameter)
    settings = [
        {"params": own, "factor": factor, "weight_decay": decay}
        for (factor, decay), own in groups.items()
    ]
    on_gpu = all(p.device.type == "cuda" for own in groups.values() for p in own)
    fused = True if on_gpu else None  # one kernel in place of a dozen, each of which is queued
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(settings, lr=recipe.lr(0), momentum=recipe.momentum, fused=fused)
    return torch.optim.AdamW(settings, lr=recipe.lr(0), eps=recipe.eps, fused=fused)


def factors_of(name: str, factors: Mapping[str, Factors]) -> Factors:
    """Those of a model's tensor, `method.prompts` or `head.linear.weight`."""
    own = "head" if name.startswith("head.") else name.removeprefix("method.")
    fitting = [start for start in factors if own.startswith(start)]
    return factors[max(fitting, key=len)] if fitting else Factors()


def is_spared(name: str, parameter: Tensor, no_decay: NoDecay) -> bool:
    """Whether a tensor of a model has no weight decay."""
    return (
        (name.startswith("head.") and parameter.ndim <= 1)
        or (no_decay == "biases" and name.endswith("bias"))
        or (no_decay == "vectors" and parameter.ndim <= 1)
    )
