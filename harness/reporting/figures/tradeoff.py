"""Score against a cost: one point per method, and the front of those that no other beats in
both."""

import math
from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from harness.errors import BadInput, unknown
from harness.reporting.costs import COSTS, Cost, on_machines
from harness.reporting.figures import labels
from harness.reporting.figures.style import BLUE, DOUBLE, GREY, LINE, SINGLE
from harness.reporting.figures.text import left_out, names, note, shown
from harness.reporting.section import Section
from harness.reporting.statistics.pareto import pareto

FEW = 12
"""Up to this many methods are named at their points; more get numbers there, and names below."""


def draw(section: Section, against: str = "params") -> Figure:
    """`against`: a name in `COSTS`. Raises `BadInput`."""
    if against not in COSTS:
        raise unknown("cost", against, COSTS)
    cost = COSTS[against]
    complete = {
        variant: (summary.costs[against], summary.mean)
        for variant, summary in section.methods.items()
        if summary.mean is not None
    }
    if not complete:
        raise BadInput(
            f"figure tradeoff: no method has a score on all {len(section.tasks)} tasks. Choose"
            " fewer with --tasks."
        )
    points = {v: (value, mean) for v, (value, mean) in complete.items() if value is not None}
    if not points:
        raise BadInput(
            f"figure tradeoff: no row has its {cost.axis} ({against}): stored before it was"
            " counted."
        )
    few = len(points) <= FEW
    width = SINGLE if len(points) <= 5 else DOUBLE
    figure = Figure(figsize=(width, 2.6 if width == SINGLE else 3.4), layout="constrained")
    front = pareto(points)
    note(
        figure,
        section,
        [
            (
                f"{_mean(section)}. Filled, on the line: no other method scores as high at the same"
                f" cost or less. {_capital(cost.axis)}: {cost.help}"
                f"{'' if cost.of_all else ', mean over tasks'}."
            ),
            *left_out(section),
            *_unknown([variant for variant in complete if variant not in points]),
            *_machines(section, cost),
        ],
    )
    if few:
        axes, label_of = figure.add_subplot(), names(points, 22)
    else:
        label_of = {variant: str(number) for number, variant in enumerate(points, 1)}
        axes = _with_key(figure, points)
    at = _axis(axes, [value for value, _ in points.values()], cost)
    axes.set_xlabel(_capital(cost.axis))
    axes.set_ylabel(f"{_mean(section)} (%)")
    axes.margins(0.12, 0.14)
    corners = [(at(points[v][0]), points[v][1]) for v in front]
    axes.plot(
        *zip(*corners, strict=True),
        drawstyle="steps-post",
        color=BLUE,
        linewidth=0.8,
        gid="front-line",
    )
    rest = [variant for variant in points if variant not in front]
    for gid, of, marker, color, face in (
        ("front", front, "o", BLUE, BLUE),
        ("others", rest, "s", GREY, "white"),
    ):
        x, y = [at(points[v][0]) for v in of], [points[v][1] for v in of]
        axes.plot(x, y, linestyle="none", marker=marker, color=color, mfc=face, zorder=3, gid=gid)
    labels.place(
        figure,
        axes,
        {label_of[v]: (at(points[v][0]), points[v][1]) for v in (*front, *rest)},
        8 if few else 7,
        corners,
    )
    return figure


def _mean(section: Section) -> str:
    """What a score is, in words."""
    tasks = section.tasks
    return f"Mean of {len(tasks)} tasks" if len(tasks) > 1 else f"Score on {tasks[0]}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _unknown(variants: Sequence[str]) -> list[str]:
    """Which methods have a score, but not this cost."""
    return [f"Left out, not counted when stored: {', '.join(variants)}."] if variants else []


def _machines(section: Section, cost: Cost) -> list[str]:
    where = on_machines(section.devices) if cost.measured else None
    return [where] if where else []


def _axis(axes: Axes, values: Sequence[float], cost: Cost) -> Callable[[float], float]:
    """A logarithmic axis with a place for 0 and less, left of a break. Returns the function from a
    number to its position."""
    some, least = [value for value in values if value > 0] or [1.0], min(values)
    lowest, highest = math.log10(min(some)), math.log10(max(some))
    gap = max(0.1, 0.25 * (highest - lowest))
    zero = 10 ** (lowest - gap)
    ticks = _ticks(min(some), max(some)) if max(values) > 0 else []
    axes.set_xscale("log")
    if least <= 0:
        ticks.insert(0, zero)
    if least <= 0 and max(values) > 0:
        break_at = 10 ** (lowest - gap / 2)
        axes.text(
            break_at,
            0,
            "//",
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="center",
            backgroundcolor="white",
            fontsize=6,
        )
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(
        lambda value, _: (
            cost.text(value) if value > zero * 1.001 else "0" if least == 0 else "\u2264 0"
        )
    )
    return lambda value: value if value > 0 else zero


def _ticks(lowest: float, highest: float) -> list[float]:
    """Round numbers between the two or just outside, at least three if possible."""
    ticks = []
    for steps in (
        (1,),
        (1, 2, 5),
        (1, 1.5, 2, 3, 4, 5, 7),
        (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 7, 8, 9),
    ):
        decades = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
        ticks = [
            step * 10.0**decade
            for decade in decades
            for step in steps
            if 0.9 * lowest <= step * 10.0**decade <= 1.1 * highest
        ]
        if len(ticks) >= 3:
            return ticks
    return ticks or [lowest]


def _with_key(figure: Figure, variants: Mapping[str, object]) -> Axes:
    """Axes above a key of numbers and names, in as many columns as fit."""
    longest = max(len(shown(variant)) for variant in variants)
    columns = 3 if longest <= 34 else 2
    key = names(variants, 34 if columns == 3 else 52, 1)
    rows = math.ceil(len(key) / columns)
    height = (rows + 1) * LINE * 0.9
    above, below = figure.get_figheight(), height
    figure.set_figheight(above + below)
    axes, under = figure.subplots(2, 1, height_ratios=[above, below])
    under.set_axis_off()
    for index, name in enumerate(key.values()):
        column, row = divmod(index, rows)
        under.text(
            column / columns,
            1 - (row + 0.5) / rows,
            f"{index + 1}  {name}",
            fontsize=7,
            va="center",
            in_layout=False,
        )
    return axes
