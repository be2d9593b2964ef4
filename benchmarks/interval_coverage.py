"""Claim: a 95 % interval in a report holds the true mean in at least 92 of 100 experiments, at 3
and 5 seeds and at 19 tasks.

    python benchmarks/interval_coverage.py [--repetitions 20000] [--json]

Draws experiments whose true mean is known and counts how often an interval holds it. Seeds' scores
are normal. What tasks' scores, or differences of two methods, are like isn't known, so several
shapes are tried; units don't matter. Beside our intervals stand those that they are made from, and
the plain percentile bootstrap. About a minute.
"""

import argparse
import json
import math
from collections.abc import Callable

import numpy as np
from scipy import stats

from harness.reporting.statistics.intervals import bootstraps, interval, studentised

RESAMPLES = 2000
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]

SHAPES: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, shape: rng.normal(size=shape), 0.0),
    "heavy tails: Student's t, 3 degrees of freedom": (
        lambda rng, shape: rng.standard_t(3, size=shape),
        0.0,
    ),
    "skewed: exponential": (lambda rng, shape: rng.exponential(size=shape), 1.0),
    "very skewed: log-normal, sigma 1": (
        lambda rng, shape: rng.lognormal(size=shape),
        math.exp(0.5),
    ),
    "a fifth of tasks gain 8 ± 3, the others 0.5 ± 1": (
        lambda rng, shape: np.where(
            rng.random(shape) < 0.2, rng.normal(8, 3, shape), rng.normal(0.5, 1, shape)
        ),
        0.2 * 8 + 0.8 * 0.5,
    ),
    "a fifth of tasks gain 1, the others nothing": (
        lambda rng, shape: (rng.random(shape) < 0.2).astype(float),
        0.2,
    ),
}
"""Populations of tasks: how to draw from one, and its mean."""


def percentile(
    table: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The plain percentile bootstrap of each row's mean, for comparison."""
    n = table.shape[1]
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    ends = [
        np.quantile(counts @ part.T / n, (0.025, 0.975), axis=0)
        for part in np.array_split(table, 1 + len(table) // 500)
    ]
    low, high = np.concatenate(ends, axis=1)
    return low, high


def students(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Student's t of each row's mean."""
    mean, half = (
        table.mean(axis=1),
        stats.t.ppf(0.975, table.shape[1] - 1) * stats.sem(table, axis=1),
    )
    return mean - half, mean + half


def covered(ends: tuple[np.ndarray, np.ndarray], truth: float) -> float:
    """The share of intervals that hold it."""
    return float(((ends[0] <= truth) & (truth <= ends[1])).mean())


def over_seeds(n: int, repetitions: int, seed: int = 0) -> dict[str, float]:
    """Coverage of intervals over n seeds of normal noise: ours, and the percentile bootstrap."""
    table = np.random.default_rng(seed).normal(size=(repetitions, n))
    ours = np.array([interval(row) for row in table]).T
    return {"ours": covered((ours[0], ours[1]), 0), "percentile": covered(percentile(table), 0)}


def over_tasks(shape: str, n: int, repetitions: int, seed: int = 0) -> dict[str, float]:
    """Coverage of intervals of the mean over n tasks of a population in `SHAPES`, and the mean
    `width` of ours in that of Student's t."""
    draw, truth = SHAPES[shape]
    table = draw(np.random.default_rng(seed), (repetitions, n))
    ours, t = bootstraps(table), students(table)
    return {
        "ours": covered(ours, truth),
        "studentised": covered(studentised(table, 0.95, RESAMPLES, 0), truth),
        "t": covered(t, truth),
        "percentile": covered(percentile(table), truth),
        "width": float((ours[1] - ours[0]).mean() / (t[1] - t[0]).mean()),
    }


def measure(repetitions: int) -> list[dict[str, float | str | int]]:
    """One row an experiment."""
    rows: list[dict[str, float | str | int]] = []
    rows += [
        {"over": "seeds", "n": n, "shape": "normal", **over_seeds(n, repetitions)} for n in (3, 5)
    ]
    rows += [
        {"over": "tasks", "n": n, "shape": shape, **over_tasks(shape, n, repetitions)}
        for n in (5, 19)
        for shape in SHAPES
    ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description="How often the report's 95 % intervals hold the true mean."
    )
    parser.add_argument("--repetitions", type=int, default=20_000, help="experiments a row")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = measure(arguments.repetitions)
    if arguments.json:
        print(
            json.dumps(
                {"repetitions": arguments.repetitions, "resamples": RESAMPLES, "rows": rows},
                indent=2,
            )
        )
        return
    print(
        f"{arguments.repetitions:,} repetitions a row, {RESAMPLES:,} resamples; coverage in %;"
        " width of ours over that of t"
    )
    print(
        f"{'over':<9} {'population':<48} {'ours':>5} {'stud.':>5} {'t':>5} {'perc.':>5}"
        f" {'width':>5}"
    )
    for row in rows:
        shown = (
            f"{100 * row[name]:5.1f}" if name in row else f"{'-':>5}"
            for name in ("ours", "studentised", "t", "percentile")
        )
        width = f"{row['width']:5.2f}" if "width" in row else ""
        print(f"{row['n']:>2} {row['over']:<6} {row['shape']:<48}", *shown, width)


if __name__ == "__main__":
    main()
