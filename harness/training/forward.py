"""Passing a split forward: in which arithmetic, how many images at once, and what its logits are
called by."""

import hashlib
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

EVAL_BATCH = 256
"""Images that are scored together, where memory isn't short."""


class Diverged(RuntimeError):
    """The loss, or what the model puts out, is no longer a finite number."""


@runtime_checkable
class Batches(Protocol):
    """What is passed forward: `harness.data.loader.Split`, or
    `harness.training.features.FeatureSplit`."""

    @property
    def labels(self) -> Tensor: ...
    def __len__(self) -> int: ...
    def batch(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]: ...


@runtime_checkable
class Drawn(Batches, Protocol):
    """Images that a batch may crop at random, and `still` as they are."""

    def still(self) -> Batches: ...


def precision(device: torch.device) -> torch.autocast:
    """What arithmetic runs in: bf16 autocast on CUDA, float32 on the CPU."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def at_once(most: int, micro_batch: int | None, batch_size: int) -> int:
    """How many of `most` are scored together: fewer, by the same factor as in training, where
    memory is short."""
    return max(1, most * (micro_batch or batch_size) // batch_size)


def predict(
    model: nn.Module, split: Batches, device: torch.device, at_once: int = EVAL_BATCH
) -> Float[Tensor, "image class"]:
    """Logits of a whole split in record order, on the CPU in float32."""
    return outputs(model.eval(), split, device, at_once)


@torch.inference_mode()
def outputs(
    forward: Callable[[Tensor], Tensor],
    split: Batches,
    device: torch.device,
    at_once: int = EVAL_BATCH,
) -> Float[Tensor, "image ..."]:
    """What `forward` makes of every batch of a split, `at_once` images each, in record order, on
    the CPU in float32."""
    parts: list[Tensor] = []
    for index in torch.split(torch.arange(len(split)), at_once):
        images, _ = split.batch(index, device)
        with precision(device):
            parts.append(forward(images).float().cpu())
    return torch.cat(parts)


def sha256_of(logits: Float[Tensor, "..."]) -> str:
    """Of the values as little-endian float32: equal hashes mean equal predictions, digit for
    digit."""
    return hashlib.sha256(logits.numpy().astype("<f4").tobytes()).hexdigest()
