"""What a method costs: seconds and peak memory of a final run, means over tasks and seeds, side by
side."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.errors import BadInput
from harness.reporting.figures.style import BLUE, DOUBLE, GREEN, LINE, ROUND
from harness.reporting.figures.text import left_out, names, note
from harness.reporting.section import Section
from harness.reporting.statistics.common import complete


def draw(section: Section) -> Figure:
    kept, _ = complete(section.scores, section.tasks)
    if not kept:
        raise BadInput(
            f"figure cost: no method has a score on all {len(section.tasks)} tasks. Choose fewer"
            " with --tasks."
        )
    labels = names(kept, 42, 1)
    figure = Figure(figsize=(DOUBLE, len(kept) * LINE * 1.1 + 0.6), layout="constrained")
    note(
        figure,
        section,
        [
            f"Per final run, mean over {len(section.tasks)} tasks and their seeds.",
            *left_out(section),
        ],
    )
    seconds, memory = (
        {variant: _mean(section, variant, name) for variant in kept}
        for name in ("seconds", "memory")
    )
    left, right = figure.subplots(1, 2, sharey=True)
    size, unit = _unit(max(seconds.values()), {"s": 1.0, "min": 60.0, "h": 3600.0})
    _bars(
        left,
        {variant: value / size for variant, value in seconds.items()},
        f"Time ({unit})",
        BLUE,
        "",
    )
    size, unit = _unit(max(memory.values()), {"MiB": 2.0**20, "GiB": 2.0**30})
    _bars(
        right,
        {variant: value / size for variant, value in memory.items()},
        f"Peak memory ({unit})",
        GREEN,
        "////",
    )
    left.set_yticks(range(len(kept)), list(labels.values()))
    left.set_ylim(len(kept) - 0.4, -0.6)
    return figure


def _mean(section: Section, variant: str, name: str) -> float:
    """Mean over tasks, each task's over its seeds."""
    results = (section.results[variant, task] for task in section.scores[variant])
    return float(np.mean([getattr(result, name) for result in results]))


def _unit(most: float, units: Mapping[str, float]) -> tuple[float, str]:
    """The largest unit that is at most half of `most`."""
    fitting = [(size, unit) for unit, size in units.items() if most >= 2 * size]
    return fitting[-1] if fitting else next((size, unit) for unit, size in units.items())


def _bars(axes: Axes, values: Mapping[str, float], title: str, color: str, hatch: str) -> None:
    axes.barh(
        range(len(values)),
        list(values.values()),
        0.66,
        facecolor="white" if hatch else color,
        edgecolor=color,
        hatch=hatch,
        linewidth=0.6,
    )
    for y, value in enumerate(values.values()):
        axes.annotate(
            _figures(value), (value, y), (3, 0), textcoords="offset points", va="center", fontsize=7
        )
    axes.set_xlim(0, 1.2 * max(values.values()) or 1.0)
    axes.set_xlabel(title)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
    axes.tick_params(axis="y", length=0)


def _figures(value: float) -> str:
    """Three digits at least."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
