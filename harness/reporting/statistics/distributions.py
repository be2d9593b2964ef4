"""Quantiles and ranks that every report needs, in closed form or by one integral: importing scipy's
takes longer than a report."""

import math
from functools import lru_cache

import numpy as np


@lru_cache(maxsize=64)
def students_t(degrees: int, level: float) -> float:
    """The quantile of Student's t for whole degrees of freedom and a level of at least a half.

    With t = sqrt(n) tan(a), the probability of [-t, t] is a finite sum of powers of cos(a); M.
    Abramowitz, I. Stegun, Handbook of mathematical functions (1964), 26.7.3 and 26.7.4.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(degrees, middle) < 2 * level - 1 else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _within(degrees: int, angle: float) -> float:
    """The probability that |t| is at most sqrt(degrees) tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for number in range(1, degrees // 2 + 1):
        total += term
        step = 2 * number / (2 * number + 1) if odd else (2 * number - 1) / (2 * number)
        term *= cosine**2 * step
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


@lru_cache(maxsize=64)
def range_of_normals(many: int, level: float) -> float:
    """The quantile of the difference between the largest and the smallest of so many draws from a
    standard normal: the studentised range for infinitely many degrees of freedom."""
    points = np.linspace(-8.5, 8.5, 341)  # where all but 1e-17 is; the rule of trapezia is exact
    step = points[1] - points[0]
    density = np.exp(-(points**2) / 2) / math.sqrt(2 * math.pi)
    below = _normal(points)

    def probability(width: float) -> float:
        inside = below - _normal(points - width)
        return float(many * step * (density * inside ** (many - 1)).sum())

    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if probability(middle) < level else (low, middle)
    return low


def _normal(points: np.ndarray) -> np.ndarray:
    return np.array([math.erfc(-point / math.sqrt(2)) / 2 for point in points.tolist()])


def average_ranks(rows: np.ndarray) -> np.ndarray:
    """Ranks within each row, from 1 for the smallest; equal values share their average."""
    ordered = np.sort(rows, axis=1)
    ranks = np.empty(rows.shape)
    for row, values, into in zip(rows, ordered, ranks, strict=True):
        first, last = np.searchsorted(values, row, "left"), np.searchsorted(values, row, "right")
        into[:] = (first + last + 1) / 2
    return ranks
