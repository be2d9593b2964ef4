"""Many methods' differences to a baseline in one matrix: one triangle per task, which points up
for better, as large as the difference."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.reporting.figures.paired import Paired, gaps
from harness.reporting.figures.style import BLUE, DOUBLE, GREY, LINE, POINT, VERMILLION
from harness.reporting.figures.text import measured, names, note
from harness.reporting.section import Section

Differences = Mapping[str, Mapping[str, Paired]]
"""Differences by variant and task."""


def matrix(section: Section, baseline: str, differences: Differences) -> Figure:
    """Methods down, tasks across, groups of tasks a little apart."""
    columns: dict[str, float] = {}
    for place, tasks in enumerate(section.groups.values()):
        columns |= {task: len(columns) + number + 0.6 * place for number, task in enumerate(tasks)}
    most = (
        max(abs(pair.mean) for of_tasks in differences.values() for pair in of_tasks.values())
        or 1.0
    )
    across, down = names(columns, 30, 1), names(differences, 42, 1)
    height = (
        len(differences) * LINE * 1.05
        + max(measured(name)[0] for name in across.values()) * POINT
        + 0.55
    )
    figure = Figure(figsize=(DOUBLE, height), layout="constrained")
    caption = (
        f"Difference to {baseline}, mean over paired seeds: up for better, down for worse, area in"
        f" proportion, the largest {most:.1f} points. Filled where the 95 % interval over seeds"
        " (Student's t) excludes 0; a cross where no seed is shared."
    )
    note(figure, section, [caption, *gaps(section, differences)])
    axes = figure.add_subplot()
    room = 72 * DOUBLE - 16 - max(measured(name)[0] for name in down.values())
    pitch = min(72 * LINE, room / (max(columns.values()) + 1.4))  # points from mark to mark
    for better in (True, False):
        for apart in (True, False):
            _triangles(axes, differences, columns, better, apart, (0.95 * pitch) ** 2 / most)
    empty = [
        (columns[task], y)
        for y, of_tasks in enumerate(differences.values())
        for task in section.tasks
        if task not in of_tasks
    ]
    axes.plot(
        [x for x, _ in empty], [y for _, y in empty], "x", color=GREY, markersize=3, gid="gaps"
    )
    axes.set_xlim(-0.7, max(columns.values()) + 0.7)
    axes.set_ylim(len(differences) - 0.4, -0.6)
    axes.set_xticks(list(columns.values()), list(across.values()), rotation=90)
    axes.set_yticks(range(len(differences)), list(down.values()))
    axes.tick_params(length=0)
    axes.grid(linewidth=0.3)
    axes.spines[:].set_visible(False)
    if len(section.groups) > 1:
        _groups(axes, section, columns, pitch)
    return figure


def _triangles(
    axes: Axes,
    differences: Differences,
    columns: Mapping[str, float],
    better: bool,
    apart: bool,
    scale: float,
) -> None:
    """The differences of one sign, with intervals that exclude 0 or that don't; `scale`: square
    points per point of difference."""
    chosen = [
        (columns[task], y, max(0.6, abs(pair.mean) * scale))
        for y, of_tasks in enumerate(differences.values())
        for task, pair in of_tasks.items()
        if (pair.mean >= 0) == better and pair.apart == apart
    ]
    color, marker = (BLUE, "^") if better else (VERMILLION, "v")
    axes.scatter(
        [x for x, _, _ in chosen],
        [y for _, y, _ in chosen],
        s=[size for _, _, size in chosen],
        marker=marker,
        facecolor=color if apart else "none",
        edgecolor=color,
        linewidth=0.5,
        gid=f"{'better' if better else 'worse'}-{'apart' if apart else 'within'}",
    )


def _groups(axes: Axes, section: Section, columns: Mapping[str, float], pitch: float) -> None:
    """Each group's name above its tasks, rotated where it is wider than they are."""
    for tasks, name in zip(
        section.groups.values(), names(section.groups, 24, 1).values(), strict=True
    ):
        middle = sum(columns[task] for task in tasks) / len(tasks)
        turn = 90 if measured(name)[0] > pitch * (len(tasks) + 0.4) else 0
        above = axes.get_xaxis_transform()
        axes.annotate(
            name,
            (middle, 1),
            (0, 3),
            xycoords=above,
            textcoords="offset points",
            ha="center",
            va="bottom",
            rotation=turn,
        )
