"""A GPU's memory, where jobs come and go in one process, and several processes share it."""

import os

SETTINGS = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF")
"""What torch's allocator is set by. The first is read by every version; the second, by which torch
means to replace it, is ignored by some."""
CONTEXT = 600_000_000
"""Bytes that a process takes beside its allocator's: the driver's context, kernels, libraries."""


def let_segments_grow() -> None:
    """Unless the user has set the allocator: a job whose sizes are others than the last one's finds
    room in what that has left. Before CUDA is initialised in this process."""
    if not any(name in os.environ for name in SETTINGS):
        os.environ[SETTINGS[0]] = "expandable_segments:True"


def keep_to_share(share: float) -> None:
    """Where several jobs fit on a GPU, `share` each: an allocation beyond an equal part of its
    memory is out of memory, for the job that makes it and no other."""
    import torch  # here, since a driver that starts Ray first needs only the other

    jobs = int(1 / share + 1e-6) if share else 1
    if jobs > 1:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(max(0.5 / jobs, 1 / jobs - CONTEXT / total))
