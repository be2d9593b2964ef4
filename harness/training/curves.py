"""What happened in a run, as curves: the loss, the learning rate, and what a method logs."""

import math
from collections.abc import Mapping
from typing import Any

POINTS = 50
"""The most that a curve has: a store keeps one of each scalar for every run."""
DIGITS = 4
"""Of a value, significant."""


class Curves:
    """Scalars of steps, each averaged over an epoch (or iteration), or over as many of them as
    leave `POINTS` points."""

    def __init__(self, length: int):
        """`length`: epochs (or iterations) of the run."""
        self.length = length
        self.every = -(-length // POINTS)
        self.open: dict[str, tuple[Any, int]] = {}
        self.points: dict[str, dict[int, Any]] = {}

    def add(self, values: Mapping[str, Any]) -> None:
        """Those of a step: numbers, or tensors, which stay where they are."""
        for name, value in values.items():
            total, count = self.open.get(name, (0.0, 0))
            self.open[name] = (total + value, count + 1)

    def close(self, done: int) -> None:
        """After an epoch (or iteration), counted from 1."""
        if done % self.every == 0 or done == self.length:
            for name, (total, count) in self.open.items():
                self.points.setdefault(name, {})[done] = total / count
            self.open.clear()

    def read(self) -> dict[str, list[float | None]]:
        """`epoch` (or iterations), and by name the values there; None where there is none, or no
        finite number."""
        if not self.points:
            return {}
        at = sorted({done for points in self.points.values() for done in points})
        return {
            "epoch": list(at),
            **{
                name: [_rounded(points.get(done)) for done in at]
                for name, points in self.points.items()
            },
        }


def _rounded(value: Any) -> float | None:
    if value is None or not math.isfinite(value := float(value)):
        return None
    return float(f"{value:.{DIGITS}g}")
