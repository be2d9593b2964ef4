"""Memory for batches on the CPU, reused when no longer referenced: writing to fresh pages takes
longer than the arithmetic on a batch."""

import math
import weakref

import numpy as np
import torch
from torch import Tensor

_POOL: list[tuple[np.ndarray, weakref.ref]] = []
"""Memory, and its user: an array that lives as long as any tensor that views it."""


def floats(*shape: int) -> Tensor:
    """An uninitialised float32 tensor on the CPU."""
    needed = math.prod(shape)
    free = next((place for place, (_, user) in enumerate(_POOL) if user() is None), None)
    memory = _POOL.pop(free)[0] if free is not None else np.empty(0, np.float32)
    if memory.size < needed:
        memory = np.empty(needed, np.float32)
    handed = memory[:needed]
    _POOL.append((memory, weakref.ref(handed)))
    return torch.from_numpy(handed).view(shape)
