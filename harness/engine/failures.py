"""Describes a failed run: its reason in one line, and whether a smaller micro-batch may help."""

import re

import torch

from harness.engine.jobs import DIED, OUT_OF_MEMORY
from harness.planning import user_errors

_LONGEST = 500
_MEMORY = re.compile(
    r"out of memory|not enough memory|can't allocate memory|CUBLAS_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
"""PyTorch's messages where it has no exception type for it: its CPU allocator, cuBLAS, older CUDA
errors."""

_CUDA = re.compile(
    r"CUDA error|CUDNN_STATUS|CUBLAS_STATUS|cuda.* is not initialized", re.IGNORECASE
)
_CAUSES = {
    "device-side assert": "an index or a label is out of range",
    "illegal memory access": "a kernel left its memory",
    "ECC": "the GPU's memory is faulty",
}
"""What CUDA's wording usually means."""


class DeviceFailed(RuntimeError):
    """A CUDA error after which every later call in this process would fail. Its text is a reason in
    one line."""


def reason_of(error: BaseException, at_once: int, whole_batch: bool = False) -> str:
    """One line that names the error; begins with `OUT_OF_MEMORY` in that case. `at_once`: images
    per forward pass; `whole_batch`: they can't be fewer."""
    message = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
    if where := user_errors.place(error):
        message = f"{message} ({where})"
    if out_of_memory(error):
        images = f"{at_once} image{'s' if at_once > 1 else ''} at once"
        if whole_batch:
            images += ", which the method's loss needs together (give a smaller batch_size)"
        return f"{OUT_OF_MEMORY} with {images}: {message}"
    return message


def out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and _MEMORY.search(str(error)) is not None
    )


def device_failure(error: BaseException) -> DeviceFailed | None:
    """What an error says of the device, if that is lost to this process; None for any other."""
    if isinstance(error, DeviceFailed):
        return error
    accelerator = getattr(torch, "AcceleratorError", ())  # since torch 2.8
    text = str(error)
    if out_of_memory(error) or not (
        isinstance(error, accelerator)
        or (isinstance(error, RuntimeError) and _CUDA.search(text) is not None)
    ):
        return None
    first = text.strip().partition("\n")[0][:_LONGEST]
    cause = next((f": {cause}" for name, cause in _CAUSES.items() if name in text), "")
    where = f" ({place})" if (place := user_errors.place(error)) else ""
    return DeviceFailed(f"{DIED} after an error of its GPU, {first}{where}{cause}")


def free_memory() -> None:
    """Returns the allocator's cached memory, for the next run and others on the device."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
