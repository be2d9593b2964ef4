"""How a number was computed, and how much memory that took."""

import platform
import resource
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from harness.io.cores import cores, processor
from harness.training.forward import Precision


def provenance(device: torch.device, precision: Precision) -> dict[str, Any]:
    """How a number was computed; stored with it. Of this only `precision` is part of its key."""
    packages = ("vpt-harness", "torch", "timm", "ray", "optuna", "numpy")
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
        "platform": platform.platform(),
        "processor": processor("model name") or platform.processor(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "precision": "bf16 autocast" if precision == "bf16" else "fp32",
        "cores": cores(),
    }


def forget_peak(device: torch.device) -> None:
    """Lets `peak_memory` begin anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    with suppress(OSError):  # not Linux, or not allowed here: then it is the process's so far
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Bytes: of the device's memory; on a CPU of this process, with all it has loaded."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
