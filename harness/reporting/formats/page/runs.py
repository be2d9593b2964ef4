"""The final runs behind a leaderboard's results, for the page's panel."""

from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from harness.io import commands
from harness.reporting.display import counted, duration, memory, rounded
from harness.reporting.formats.page.values import Once, shortened
from harness.reporting.rows import Run
from harness.reporting.section import Section
from harness.text import plain

CURVE_POINTS = 24
HIDDEN = ("checkpoint", "no_checkpoint")
"""Provenance that the page leaves out, as it does the paths of `inputs`: they are useless on
another machine. `harness show` has them."""


class Runs:
    """The final runs behind the cells: what a reader sees after clicking on one."""

    def __init__(self, rows: Mapping[str, Run]):
        """`rows`: with detail, by id."""
        self._rows = rows
        self._kept = {
            name: Once()
            for name in ("params", "epochs", "steps", "versions", "machines", "inputs", "created")
        }
        self._counts: dict[str, Counter[int]] = {name: Counter() for name in self._kept}

    def of(self, part: Section) -> list[list[Any]]:
        """By variant and task: a list of `_run`."""
        results = part.results
        return [
            [
                (
                    [self._run(self._rows[id]) for id in results[variant, task].ids]
                    if (variant, task) in results
                    else []
                )
                for task in part.tasks
            ]
            for variant in part.scores
        ]

    def shared(self) -> dict[str, list[Any]]:
        return {name: once.values for name, once in self._kept.items()}

    def counts(self, name: str) -> list[int]:
        """How many runs have each value of `shared()[name]`."""
        return [self._counts[name][place] for place in range(len(self._kept[name].values))]

    def _run(self, run: Run) -> list[Any]:
        """[id; seed; texts: score, time, memory, units, parameters, those of the head; places
        in `shared` by name; thinned curve; what was logged, by name]"""
        detail = run.detail
        if detail is None:
            raise ValueError("read the rows with detail")
        provenance = {
            name: value for name, value in detail.provenance.items() if name not in HIDDEN
        }
        inputs = {
            name: value
            for name, value in provenance.pop("inputs", {}).items()
            if name in ("method", "backbone", "pixels") and value
        }
        inputs |= {
            name: at(str(inputs[name]))
            for name, at in (("method", commands.method), ("backbone", commands.backbone))
            if name in inputs
        }
        versions = provenance.pop("versions", {})
        curve, steps = thinned(detail.curve), dict(detail.curves)
        at = evenly(len(steps.pop("epoch", [])))
        logged = {
            plain(name): [significant(values[place]) for place in at]
            for name, values in steps.items()
        }
        params = {plain(str(name)): shortened(value, 8) for name, value in detail.params.items()}
        values = {
            "params": params,
            "epochs": list(curve),
            "steps": [detail.curves["epoch"][place] for place in at],
            "versions": versions,
            "machines": provenance,
            "inputs": inputs,
            "created": run.created,
        }
        places = [self._kept[name].place(value) for name, value in values.items()]
        for name, place in zip(values, places, strict=True):
            self._counts[name][place] += 1
        texts = [
            rounded(run.score, 2),
            duration(run.seconds),
            memory(run.memory),
            counted(run.units),
            f"{run.trainable:,}",
            f"{run.head_params:,}",
        ]
        return [run.id, run.seed, texts, places, list(curve.values()), logged]


def thinned(curve: Mapping[int, float], points: int = CURVE_POINTS) -> dict[int, float]:
    """At most `points` of a curve, evenly, the first and the last among them; to one digit."""
    epochs = sorted(curve)
    return {epochs[place]: round(curve[epochs[place]], 1) for place in evenly(len(epochs), points)}


@cache
def evenly(length: int, points: int = CURVE_POINTS) -> tuple[int, ...]:
    """At most `points` places of a list, the first and the last among them."""
    if length <= points:
        return tuple(range(length))
    return tuple(np.linspace(0, length - 1, points).round().astype(int).tolist())


def significant(value: float | None) -> float | None:
    """To three digits."""
    return None if value is None else float(f"{value:.3g}")
