"""The Pareto front of score against cost."""

import math
from collections.abc import Mapping


def pareto(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The variants of {variant: (cost, score)} that no other dominates, by cost. Of several that
    are equal in both, all are on the front or none."""
    front: list[str] = []
    best = (math.inf, -math.inf)
    for variant in sorted(points, key=lambda variant: (points[variant][0], -points[variant][1])):
        if points[variant] == best or points[variant][1] > best[1]:
            front.append(variant)
            best = points[variant]
    return front
