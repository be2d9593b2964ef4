"""How long a piece of work takes on this machine."""

import time
from collections.abc import Callable

import torch


def fastest(work: Callable[[], object], device: torch.device) -> float:
    """The least of two to five calls, the first of which also warms up: what other programs do
    meanwhile only adds to a call. More than two where the two least differ, or all take less than
    a third of a second."""
    taken: list[float] = []
    while len(taken) < 2 or (
        len(taken) < 5 and (taken[1] > 1.5 * taken[0] or taken[0] * len(taken) < 0.3)
    ):
        taken = sorted([*taken, _timed(work, device)])
    return taken[0]


def _timed(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
