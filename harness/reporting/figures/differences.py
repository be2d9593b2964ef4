"""Each task's difference to a baseline: one panel per method with intervals, or one matrix for
many methods."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.errors import BadInput, unknown
from harness.reporting.figures.matrix import matrix
from harness.reporting.figures.paired import Paired, gaps, over_tasks, paired
from harness.reporting.figures.style import (
    BLUE,
    DOUBLE,
    GREY,
    LINE,
    ROUND,
    SINGLE,
    TALLEST,
    VERMILLION,
)
from harness.reporting.figures.text import names, note, shown
from harness.reporting.section import Section

MOST_PANELS = 8
"""Up to this many methods get a panel each; more share a matrix."""
ACROSS = 4


def draw(section: Section, baseline: str | None) -> Figure:
    known = list(section.scores)
    if baseline is None:
        raise BadInput(
            f"figure differences: give --baseline, one of {', '.join(map(shown, known))}."
        )
    if baseline not in known:
        raise unknown("baseline", baseline, known)
    by_variant = {
        variant: paired(section, variant, baseline) for variant in known if variant != baseline
    }
    by_variant = {variant: of_tasks for variant, of_tasks in by_variant.items() if of_tasks}
    if not by_variant:
        raise BadInput(
            f"figure differences: no other method shares a task and a seed with {shown(baseline)}."
        )
    return (_panels if len(by_variant) <= MOST_PANELS else matrix)(
        section, shown(baseline), by_variant
    )


def _panels(
    section: Section, baseline: str, by_variant: Mapping[str, Mapping[str, Paired]]
) -> Figure:
    """Tasks down, under the names of their groups, the mean over tasks last."""
    lines: list[tuple[str, str]] = []
    for group, tasks in section.groups.items():
        lines += [("group", group)] * (len(section.groups) > 1) + [("task", task) for task in tasks]
    lines.append(("mean", f"mean of {len(section.tasks)}"))
    across = min(len(by_variant), ACROSS)
    down = -(-len(by_variant) // across)
    width = SINGLE if across == 1 else DOUBLE
    titles = names(by_variant, 40 if across == 1 else 22 if across < 4 else 18, 3)
    above = down * (LINE * (1 + max(title.count("\n") for title in titles.values())) + 0.1) + 0.4
    # closer where the page would end
    pitch = min(LINE, max(0.12, (TALLEST - 0.6 - above) / (down * len(lines))))
    figure = Figure(figsize=(width, above + down * len(lines) * pitch), layout="constrained")
    means = {variant: over_tasks(section, of_tasks) for variant, of_tasks in by_variant.items()}
    note(
        figure,
        section,
        [
            f"Difference to {baseline}: mean over paired seeds with its 95 % interval (Student's"
            " t); filled where the interval excludes 0"
            + (
                ", a cross where one seed gives no interval."
                if any(pair.span is None for of in by_variant.values() for pair in of.values())
                else "."
            )
            + (
                " Mean: bootstrap over tasks, taken as a sample."
                if any(mean and mean.span for mean in means.values())
                else ""
            ),
            *gaps(section, by_variant),
        ],
    )
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for number, (axes, (variant, of_tasks)) in enumerate(
        zip(grid.flat, by_variant.items(), strict=False)
    ):
        mean = means[variant]
        drawn = {
            **{("task", task): pair for task, pair in of_tasks.items()},
            **({lines[-1]: mean} if mean else {}),
        }
        axes.set_title(titles[variant])
        axes.axvline(0, color=GREY, linewidth=0.6)
        axes.grid(axis="y")
        _points(axes, drawn, lines, number)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=ROUND))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    for axes in list(grid.flat)[len(by_variant) :]:
        axes.set_visible(False)
    first = grid[0, 0]
    first.set_ylim(len(lines) - 0.4, -0.6)
    first.set_yticks(range(len(lines)), [shown(name) for _, name in lines])
    for row in grid:
        for label, (kind, _) in zip(row[0].get_yticklabels(), lines, strict=True):
            label.set_fontweight("normal" if kind == "task" else "bold")
    for column in range(across):
        bottom = max(row for row in range(down) if row * across + column < len(by_variant))
        grid[bottom, column].tick_params(labelbottom=True)
        grid[bottom, column].set_xlabel("Points")
    return figure


def _points(
    axes: Axes,
    differences: Mapping[tuple[str, str], Paired],
    lines: Sequence[tuple[str, str]],
    number: int,
) -> None:
    """A marker with its interval: filled where that excludes 0, hollow where not, a cross where
    there is none."""
    for line, pair in differences.items():
        y, kind = lines.index(line), line[0]
        color = BLUE if pair.mean >= 0 else VERMILLION
        if pair.span is not None:
            axes.plot(
                pair.span,
                (y, y),
                color=color,
                linewidth=0.9,
                solid_capstyle="butt",
                gid=f"interval-{number}-{y}",
            )
        marker = "D" if kind == "mean" else "o" if pair.span is not None else "x"
        face = color if pair.apart else "white"
        axes.plot(
            pair.mean,
            y,
            marker=marker,
            color=color,
            mfc=face,
            ms=4,
            mew=0.9,
            gid=f"difference-{number}-{y}",
        )
