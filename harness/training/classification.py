"""One training run, top to bottom: seed, model, optimiser, schedule, epochs, score."""

import hashlib
import math
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from harness.text import first_few
from harness.training.metrics import top1

EVAL_BATCH = 256


class Batches(Protocol):
    """What a run trains on and is scored on: `harness.data.loader.Split`, or
    `harness.training.features.FeatureSplit`."""

    @property
    def labels(self) -> Tensor: ...
    def __len__(self) -> int: ...
    def batch(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Recipe:
    """How to optimise: the protocol's choices with one point of its search space filled in."""

    optimizer: Literal["sgd", "adamw"]
    base_lr: float
    """Learning rate at batch size 256; the one used is base_lr * batch_size / 256."""
    weight_decay: float
    batch_size: int
    epochs: int
    warmup_epochs: int
    warmup_from_zero: bool = False
    momentum: float = 0.9
    eps: float = 1e-8
    no_decay: Literal["head", "biases", "vectors"] = "head"
    micro_batch: int | None = None
    """Images that go through the model at once, where memory is short; a step is still one of
    `batch_size`. None: the whole batch.

    The mean of a batch is its parts' means weighted by their sizes, so the step is the same up to
    rounding. Not so for what looks at a batch as a whole (batch norm sees a part), and dropout
    draws other masks.
    """

    def lr(self, epoch: int) -> float:
        """Linear warm-up, then a cosine to zero; one value an epoch. `epoch` counts from 0.

        The first epoch has a `warmup_epochs`-th of the peak; with `warmup_from_zero` 0, as in VPT's
        released code: it trains nothing.
        """
        peak = self.base_lr * self.batch_size / 256
        if epoch < self.warmup_epochs:
            return peak * (epoch + (0 if self.warmup_from_zero else 1)) / self.warmup_epochs
        done = (epoch - self.warmup_epochs) / max(1, self.epochs - self.warmup_epochs)
        return peak * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class Score:
    """What a split says of a model after `epoch` epochs; in segmentation, iterations."""

    epoch: int
    value: float
    """In percent."""
    logits_sha256: str
    """Of the logits in record order, as little-endian float32: equal hashes mean equal predictions,
    digit for digit."""
    units: float
    """Forward-image units spent by the run so far: a training image counts 2, a scored one 1."""
    extras: Mapping[str, Any] | None = None
    """What else was measured, where there is more than one number."""
    warnings: tuple[str, ...] = ()
    """What of the run a reader of its score should know, a sentence each."""


class Diverged(RuntimeError):
    """The loss, or what the model puts out, is no longer a finite number."""


class Untrained(RuntimeError):
    """Nothing of what the method means to train takes part in the loss."""


class Unreached:
    """The trained tensors of a model that have had no gradient in any step so far: what they hold
    is still what they were made with."""

    def __init__(self, model: nn.Module):
        self.left = {
            name: parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        self.own = [name for name in self.left if name.startswith("method.")]
        self.total = len(self.left)

    def look(self) -> None:
        """After a step's backward pass, before gradients are cleared. Raises `Untrained` where none
        of the method's tensors has one."""
        if not self.left:
            return
        self.left = {
            name: parameter for name, parameter in self.left.items() if parameter.grad is None
        }
        if self.own and all(name in self.left for name in self.own):
            raise Untrained(
                f"none of the {len(self.own)} tensors that the method trains got a gradient:"
                f" {_named(self.own)}"
            )

    def warnings(self) -> tuple[str, ...]:
        if not self.left:
            return ()
        return (
            (
                f"{len(self.left)} of {self.total} trained tensors got no gradient:"
                f" {_named(self.left)}."
            ),
        )


def _named(names: Iterable[str]) -> str:
    return first_few([name.removeprefix("method.") for name in names])


def seed_all(seed: int) -> None:
    """Python's, numpy's and torch's generators: whatever a method draws from follows from
    `seed`."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


TUNING_SEED = 0
"""Trials of a search all train with this seed, so that they differ by their hyper-parameters
alone."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within it draws follow from `seed`; behind it they go on as if nothing had been."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices):
        seed_all(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def fit(
    build: Callable[[], nn.Module],
    train: Batches,
    held_out: Batches,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    score_at: Collection[int],
) -> Iterator[Score]:
    """Trains what `build` returns on `train`; yields its score on `held_out` after each epoch of
    `score_at` (from 1) and the last.

    Everything random (initial values, dropout, order of images) follows from `seed`. Raises
    `Diverged`, `Untrained`.
    """
    seed_all(seed)
    model = build().to(device)
    order = torch.Generator().manual_seed(seed)
    optimizer, unreached = new_optimizer(model, recipe), Unreached(model)
    units = 0.0
    for epoch in range(recipe.epochs):
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr(epoch)
        total = torch.zeros((), device=device)
        for index in torch.randperm(len(train), generator=order).split(recipe.batch_size):
            optimizer.zero_grad()
            for part in index.split(recipe.micro_batch or recipe.batch_size):
                images, labels = train.batch(part, device)
                with precision(device):
                    loss = nn.functional.cross_entropy(model(images), labels) * (
                        len(part) / len(index)
                    )
                loss.backward()
                total += loss.detach()
            unreached.look()
            optimizer.step()
        units += 2 * len(train)
        if not torch.isfinite(total):
            raise Diverged(f"the loss is {total.item()} in epoch {epoch + 1}")
        if epoch + 1 in score_at or epoch + 1 == recipe.epochs:
            logits = predict(
                model, held_out, device, eval_batch(recipe.micro_batch, recipe.batch_size)
            )
            if not torch.isfinite(logits).all():
                raise Diverged(f"the model's outputs are no finite numbers after epoch {epoch + 1}")
            units += len(held_out)
            yield Score(
                epoch + 1,
                top1(logits, held_out.labels),
                sha256_of(logits),
                units,
                warnings=unreached.warnings(),
            )


def sha256_of(logits: Tensor) -> str:
    """Of the values as little-endian float32: what a score's `logits_sha256` is."""
    return hashlib.sha256(logits.numpy().astype("<f4").tobytes()).hexdigest()


def new_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW over the trainable tensors; weight decay spares the head's bias
    and what `no_decay` names."""
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    spared = {
        name
        for name, p in trainable.items()
        if is_head_bias(name) or is_spared(name, p, recipe.no_decay)
    }
    groups = [
        {
            "params": [p for name, p in trainable.items() if name not in spared],
            "weight_decay": recipe.weight_decay,
        },
        {"params": [p for name, p in trainable.items() if name in spared], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr(0), momentum=recipe.momentum)
    return torch.optim.AdamW(groups, lr=recipe.lr(0), eps=recipe.eps)


def is_head_bias(name: str) -> bool:
    return name.startswith("head.") and name.endswith(".bias")


def is_spared(name: str, parameter: Tensor, no_decay: Literal["head", "biases", "vectors"]) -> bool:
    """Whether a rule spares a tensor, of the method or the head, from weight decay: `biases` those
    called so, `vectors` all 1-d ones."""
    return (no_decay == "biases" and name.endswith("bias")) or (
        no_decay == "vectors" and parameter.ndim <= 1
    )


def precision(device: torch.device) -> torch.autocast:
    """What arithmetic runs in: bf16 autocast on CUDA, float32 on the CPU."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def eval_batch(micro_batch: int | None, batch_size: int) -> int:
    """Images scored at once: fewer, by the same factor as in training, where memory is short."""
    return max(1, EVAL_BATCH * (micro_batch or batch_size) // batch_size)


def predict(
    model: nn.Module, split: Batches, device: torch.device, at_once: int = EVAL_BATCH
) -> Tensor:
    """Logits of a whole split in record order, on the CPU in float32: (image, class)."""
    return outputs(model.eval(), split, device, at_once)


@torch.inference_mode()
def outputs(
    forward: Callable[[Tensor], Tensor],
    split: Batches,
    device: torch.device,
    at_once: int = EVAL_BATCH,
) -> Tensor:
    """What `forward` makes of every batch of a split, `at_once` images each, in record order, on
    the CPU in float32."""
    found = []
    for index in torch.arange(len(split)).split(at_once):
        images, _ = split.batch(index, device)
        with precision(device):
            found.append(forward(images).float().cpu())
    return torch.cat(found)
