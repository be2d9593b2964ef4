"""What a method costs: each cost is a column of every format, and an axis of the trade-off.
`docs/costs.md` says how each is counted or measured."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.reporting.display import counted, duration, giga, memory


@dataclass(frozen=True)
class Cost:
    """One number a variant: the mean over tasks of the field of this name in `TaskResult`."""

    name: str
    """In JSON, in `--columns` and in `--x`."""
    title: str
    """Of its column."""
    axis: str
    """What it is called on an axis."""
    text: Callable[[float | None], str]
    help: str
    """What it is, in a phrase."""
    measured: bool = False
    """Whether it depends on the machine."""
    of_all: bool = False
    """Whether it is the sum over a variant's searches and final runs instead."""


COSTS: dict[str, Cost] = {
    cost.name: cost
    for cost in (
        Cost("params", "Params", "tuned parameters", counted, "tuned parameters without the head"),
        Cost("head_params", "Head", "the head's parameters", counted, "parameters of the head"),
        Cost(
            "flops",
            "Train GFLOP",
            "GFLOP per training image",
            giga,
            "operations of a training step per image, forward and backward",
        ),
        Cost(
            "flops_scored",
            "Score GFLOP",
            "GFLOP per scored image",
            giga,
            "operations of scoring one image",
        ),
        Cost(
            "flops_overhead",
            "Extra GFLOP",
            "GFLOP per scored image beyond the backbone's",
            giga,
            "of scoring an image, what a linear probe of the backbone doesn't need; once merged, of"
            " what can be merged",
        ),
        Cost(
            "seconds_image",
            "Time (image)",
            "time per training image",
            duration,
            "of training, per image",
            measured=True,
        ),
        Cost(
            "memory",
            "Memory",
            "peak memory",
            memory,
            "peak of a final run: of a GPU's memory, on a CPU of the whole process, torch included",
            measured=True,
        ),
        Cost(
            "checkpoint_bytes",
            "Checkpoint",
            "size of a checkpoint",
            memory,
            "size of what is stored, with the head",
        ),
        Cost("seconds", "Time (run)", "time per run", duration, "of a final run", measured=True),
        Cost(
            "units",
            "Units",
            "units of all runs",
            counted,
            "forward-image units of all searches and final runs",
            of_all=True,
        ),
    )
}
"""By name, in the order in which they are offered."""

USUAL = ("params",)
"""Columns that are shown unless others are asked for."""
BUDGETS = ("year", "flops", "trials", "epochs", "units")
"""What `--budgets` shows too."""
GROUPS = {
    "costs": tuple(name for name in COSTS if name not in ("seconds", "units")),
    "budgets": BUDGETS,
}
"""Names that stand for several columns."""

PPT_HELP = "V-PETL Bench's score: of the mean, lower with more parameters"


def ppt(mean: float | None, params: float | None) -> float | None:
    """V-PETL Bench's "performance-parameter trade-off" of a mean in percent and so many tuned
    parameters, head aside: M exp(-log10(P / 10^7 + 1)), M between 0 and 1.

    Y. Xin et al., V-PETL Bench, NeurIPS 2024. With P as printed it gives 84 of the 91 values in its
    README (commit c188fad) to their two digits, and the others within 0.012.
    """
    if mean is None or params is None:
        return None
    return mean / 100 * math.exp(-math.log10(params / 1e7 + 1))


def on_machines(devices: Sequence[str]) -> str | None:
    """The sentence that measured costs need beside them."""
    if not devices:
        return None
    apart = " Times and memory of different machines can't be compared." if devices[1:] else ""
    return f"Measured on {'; '.join(devices)}.{apart}"
