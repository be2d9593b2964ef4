"""In which arithmetic a plan's runs compute: what is asked for, or what is usual on this
machine."""

import sys
from pathlib import Path

from harness.errors import BadInput, unknown
from harness.planning.protocols import PRECISIONS, Precision

GPUS = ("nvidia[0-9]*", "nvhost-*", "kfd", "dxg")
"""Device files of GPUs on Linux: NVIDIA's, its boards', AMD's, and under Windows."""


def chosen(asked: str | None, by_protocol: Precision | None, cpu: bool) -> Precision:
    """`asked`: by `--precision`. `cpu`: jobs get no GPU. Raises `BadInput` for an unknown one, and
    for bf16 where this machine's GPU only emulates it."""
    named: dict[str, Precision] = {name: name for name in PRECISIONS}
    if asked is not None and asked not in named:
        raise unknown("precision", asked, named)
    wanted = by_protocol if asked is None else named[asked]
    if cpu or not may_have_gpus():
        return wanted or "fp32"
    import torch

    from harness.training.forward import has_bf16, usual_precision

    if not torch.cuda.is_available():
        return wanted or "fp32"
    device = torch.device("cuda")
    if wanted == "bf16" and not has_bf16(device):
        raise BadInput(
            f"precision bf16: {torch.cuda.get_device_name()} computes it only by emulation, more"
            " slowly than float32: give --precision fp32."
        )
    return wanted or usual_precision(device)


def may_have_gpus() -> bool:
    """False where there is none, as can be told without torch, which takes seconds to import."""
    if sys.platform == "linux":
        return any(True for name in GPUS for _ in Path("/dev").glob(name))
    return sys.platform != "darwin"
