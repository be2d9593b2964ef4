"""Seeds: whatever a run draws follows from its own."""

import random
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch

TUNING_SEED = 0
"""Trials of a search all train with this seed, so that they differ by their hyper-parameters
alone."""


def seed_all(seed: int) -> None:
    """Python's, numpy's and torch's generators: whatever a method draws from follows from
    `seed`."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]  # torch: no annotation


@contextmanager
def seeded(seed: int) -> Generator[None, None, None]:
    """Within it draws follow from `seed`; behind it they go on as if nothing had been."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices):  # pyright: ignore[reportUnknownMemberType]  # likewise
        seed_all(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
