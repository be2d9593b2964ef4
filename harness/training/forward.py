"""Passing a split forward: in which arithmetic, how many images at once, and what its logits are
called by."""

import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, Protocol, TypeVar, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

EVAL_BATCH = 256
"""Images that are scored together, where memory isn't short."""


Precision = Literal["fp32", "bf16"]
"""float32 throughout, or bf16 autocast: the head in float32 in either."""
_precision: ContextVar[Precision | None] = ContextVar("precision", default=None)
T = TypeVar("T")


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
    """What arithmetic runs in: what `computing_in` says around it, or else the usual one."""
    chosen = _precision.get() or usual_precision(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=chosen == "bf16")


def usual_precision(device: torch.device) -> Precision:
    """bf16 on GPUs that have it, else float32."""
    return "bf16" if device.type == "cuda" and has_bf16(device) else "fp32"


def has_bf16(device: torch.device) -> bool:
    """Whether a GPU has bfloat16: NVIDIA's have since Ampere, and earlier ones emulate it."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


@contextmanager
def computing_in(chosen: Precision) -> Generator[None]:
    """Around what runs in one arithmetic. In float32 a GPU's convolutions don't use TF32, as torch
    has it; its matrix products don't anyway."""
    before, cudnn = _precision.set(chosen), cast("Any", torch.backends.cudnn)
    tf32 = chosen == "fp32" and torch.cuda.is_available() and cudnn.allow_tf32
    try:
        if tf32:
            cudnn.allow_tf32 = False
        yield
    finally:
        _precision.reset(before)
        if tf32:
            cudnn.allow_tf32 = True


def each_in(chosen: Precision, steps: Iterator[T]) -> Iterator[T]:
    """The steps as they come, each computed in one arithmetic; between them it is as it was."""
    while True:
        with computing_in(chosen):
            try:
                step = next(steps)
            except StopIteration:
                return
        yield step


def precision_of(identity: Mapping[str, Any], provenance: Mapping[str, Any]) -> Precision:
    """A stored run's arithmetic. Rows that were made on a GPU before it was part of their key have
    it in their provenance."""
    bf16 = "bf16" in (identity["protocol"].get("precision"), str(provenance.get("precision"))[:4])
    return "bf16" if bf16 else "fp32"


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
    the CPU in float32.

    A GPU is waited for once, after the last batch: the CPU makes a batch while the GPU works on
    the one before.
    """
    parts: list[Tensor] = []
    for index in torch.split(torch.arange(len(split)), at_once):
        images, _ = split.batch(index, device)
        with precision(device):
            parts.append(forward(images).float().to("cpu", non_blocking=True))
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    return torch.cat(parts)


def sha256_of(logits: Float[Tensor, "..."]) -> str:
    """Of the values as little-endian float32: equal hashes mean equal predictions, digit for
    digit."""
    return hashlib.sha256(logits.numpy().astype("<f4").tobytes()).hexdigest()
