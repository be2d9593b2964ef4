"""The critical-difference diagram of J. Demšar, JMLR 7 (2006), section 3.2.4: mean ranks on a line,
the best on the right.

Thick bars join methods whose mean ranks differ by less than Nemenyi's critical difference, which is
drawn above the axis.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.errors import BadInput
from harness.reporting.figures.style import DOUBLE, GREY, SINGLE
from harness.reporting.figures.text import left_out, measured, names, note
from harness.reporting.section import Section
from harness.reporting.statistics.common import LEVEL, TooFew
from harness.reporting.statistics.friedman import Friedman, cliques, friedman

_AXIS, _BELOW, _BAR, _LINE, _EDGE = 44.0, 9.0, 5.0, 10.0, 4.0
"""In points: from the top to the axis, from it to the first bar, from bar to bar, a line of text,
and the figure's margin."""


@dataclass(frozen=True)
class _Scale:
    """Where a rank is: ranks from `first` to `last`, the lowest on the right."""

    first: int
    last: int
    left: float
    right: float

    def at(self, rank: float) -> float:
        return self.right - (rank - self.first) / (self.last - self.first) * (
            self.right - self.left
        )


def draw(section: Section) -> Figure:
    test = friedman(section.scores, section.tasks)
    if isinstance(test, TooFew):
        raise BadInput(f"figure ranks: {test} Choose others with --methods and --tasks.")
    groups = cliques(test)
    labels = {
        variant: f"{name} ({test.ranks[variant]:.2f})"
        for variant, name in names(test.variants, 30).items()
    }
    best, worst = (
        test.variants[: math.ceil(len(labels) / 2)],
        test.variants[: math.ceil(len(labels) / 2) - 1 : -1],
    )
    sides = {
        side: max(measured(labels[variant])[0] for variant in of)
        for side, of in (("left", worst), ("right", best))
    }
    width = 72 * (SINGLE if sum(sides.values()) < 120 and len(labels) <= 8 else DOUBLE)
    first, last = math.floor(min(test.ranks.values())), math.ceil(max(test.ranks.values()))
    last = max(last, first + math.ceil(test.critical_difference))
    scale = _Scale(first, last, _EDGE + sides["left"] + 10, width - _EDGE - sides["right"] - 10)
    levels = _levels(
        [(scale.at(test.ranks[group[-1]]), scale.at(test.ranks[group[0]])) for group in groups]
    )
    top = _AXIS + _BELOW + _BAR * (max(levels, default=-1) + 1) + 6
    heights = [
        sum(_LINE * (1 + labels[variant].count("\n")) + 1 for variant in of) for of in (worst, best)
    ]
    height = top + max(heights) + _EDGE
    figure = Figure(figsize=(width / 72, height / 72))
    note(figure, section, [_caption(test), *left_out(section)])
    share = height / 72 / figure.get_figheight()
    axes = figure.add_axes((0, 1 - share, 1, share), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    _rank_axis(axes, scale, test.critical_difference)
    for number, (group, level) in enumerate(zip(groups, levels, strict=True)):
        y = _AXIS + _BELOW + _BAR * level
        ends = (scale.at(test.ranks[group[-1]]) - 2, scale.at(test.ranks[group[0]]) + 2)
        axes.plot(
            ends,
            (y, y),
            color="black",
            linewidth=2.4,
            solid_capstyle="butt",
            gid=f"clique-{number}",
        )
    for of, edge, align in (
        (worst, _EDGE + sides["left"], "right"),
        (best, width - _EDGE - sides["right"], "left"),
    ):
        y = top
        for variant in of:
            lines = 1 + labels[variant].count("\n")
            middle = y + _LINE * lines / 2
            x = scale.at(test.ranks[variant])
            axes.plot(
                (x, x, edge),
                (_AXIS, middle, middle),
                color=GREY,
                linewidth=0.6,
                gid=f"method-{test.variants.index(variant)}",
            )
            axes.text(
                edge + (-2 if align == "right" else 2),
                middle,
                labels[variant],
                ha=align,
                va="center",
                linespacing=1.0,
            )
            y += _LINE * lines + 1
    return figure


def _rank_axis(axes: Axes, scale: _Scale, difference: float) -> None:
    """The axis with its numbers, and above its left end the critical difference to scale."""
    axes.plot((scale.left, scale.right), (_AXIS, _AXIS), color="black", linewidth=0.8, gid="axis")
    step = next(
        step for step in (1, 2, 5, 10, 20, 50, 100) if (scale.last - scale.first) / step <= 10
    )
    for rank in range(scale.first, scale.last + 1):
        labelled = rank % step == 0 or rank == 1
        axes.plot(
            (scale.at(rank),) * 2,
            (_AXIS - (4 if labelled else 2), _AXIS),
            color="black",
            linewidth=0.6,
        )
        if labelled:
            axes.text(scale.at(rank), _AXIS - 5, str(rank), ha="center", va="bottom")
    ends, y = (scale.left, scale.left + scale.at(0) - scale.at(difference)), 18.0
    axes.plot(ends, (y, y), color="black", linewidth=0.8, gid="critical-difference")
    for end in ends:
        axes.plot((end, end), (y - 2.5, y + 2.5), color="black", linewidth=0.8)
    axes.text(sum(ends) / 2, y - 3, f"CD = {difference:.2f}", ha="center", va="bottom")


def _levels(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Bars that would touch get different levels, each the lowest that is free."""
    ends: list[float] = []
    levels = []
    for left, right in spans:
        level = next((level for level, end in enumerate(ends) if right < end - 6), len(ends))
        ends[level : level + 1] = [left]
        levels.append(level)
    return levels


def _caption(test: Friedman) -> str:
    chance = f"p {'< 0.001' if test.f_p < 0.001 else f'= {test.f_p:.3f}'}"
    return (
        f"Mean rank over {len(test.tasks)} tasks, taken as a sample; 1 is the best. Methods joined"
        f" by a bar differ by less than the critical difference CD (Nemenyi, {LEVEL:g}). Friedman's"
        f" test that all are equal: {chance} (Iman and Davenport's F)."
    )
