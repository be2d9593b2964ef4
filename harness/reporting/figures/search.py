"""The search history of studies: the score on val trial by trial, and the best so far. One panel
per study, which is a method on a task."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from harness.errors import BadInput
from harness.reporting.figures.style import BLUE, DOUBLE, GREY, ROUND, SINGLE, VERMILLION
from harness.reporting.figures.text import names, note
from harness.reporting.section import Section
from harness.store import Store, Trial

MOST_STUDIES = 12
ACROSS = 3

_LOOKS: dict[str, dict[str, Any]] = {
    "complete": {"marker": "o", "color": BLUE},
    "pruned": {"marker": "v", "color": GREY, "mfc": "white"},
    "failed": {"marker": "x", "color": VERMILLION},
}


def draw(section: Section, store: Store) -> Figure:
    counts = store.trial_counts()
    cells = {
        place: row.cell.key for place, row in section.results.items() if counts.get(row.cell.key)
    }
    if not cells:
        raise BadInput("figure search: no trials of these methods and tasks are stored.")
    if len(cells) > MOST_STUDIES:
        raise BadInput(
            f"figure search: {len(cells)} studies selected, of which {MOST_STUDIES} fit. Choose"
            " fewer with --methods and --tasks."
        )
    order = [
        (variant, task)
        for task in section.tasks
        for variant in section.scores
        if (variant, task) in cells
    ]
    return _panels(section, {place: store.trials(cells[place]) for place in order})


def best_so_far(trials: Sequence[Trial]) -> list[tuple[int, float]]:
    """(number, best score on val so far) of the completed trials, from which the point is
    chosen."""
    best: list[tuple[int, float]] = []
    for trial in trials:
        if trial.state == "complete" and trial.value is not None:
            best.append((trial.number, max(trial.value, best[-1][1] if best else trial.value)))
    return best


def reached(trial: Trial) -> float | None:
    """A trial's last score on val; None if it ended before its first, or failed."""
    if trial.state == "failed":
        return None
    return trial.value if trial.value is not None else trial.curve.get(max(trial.curve, default=-1))


def _panels(section: Section, studies: Mapping[tuple[str, str], Sequence[Trial]]) -> Figure:
    across = min(len(studies), ACROSS)
    down = -(-len(studies) // across)
    width = SINGLE if across == 1 else DOUBLE
    figure = Figure(figsize=(width, down * 1.75 + 0.5), layout="constrained")
    caption = (
        "Score on the validation split at the end of each trial of a search. Line: the best of"
        " the completed ones. At the bottom: no score."
    )
    note(figure, section, [caption])
    titles = names([f"{variant}, {task}" for variant, task in studies], 44 if across == 1 else 32)
    grid = figure.subplots(down, across, squeeze=False)
    for number, (axes, trials, title) in enumerate(
        zip(grid.flat, studies.values(), titles.values(), strict=False)
    ):
        axes.set_title(title)
        _history(axes, trials, number)
    for axes in list(grid.flat)[len(studies) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel("Val (%)")
    for column in range(across):
        grid[
            max(row for row in range(down) if row * across + column < len(studies)), column
        ].set_xlabel("Trial")
    states = {trial.state for trials in studies.values() for trial in trials}
    shown = [
        Line2D([], [], linestyle="none", label=state, **look)
        for state, look in _LOOKS.items()
        if state in states
    ]
    shown.append(Line2D([], [], color="black", linewidth=0.9, label="best so far"))
    figure.legend(
        handles=shown,
        loc="outside upper center",
        ncols=len(shown),
        handletextpad=0.3,
        columnspacing=1.2,
    )
    return figure


def _history(axes: Axes, trials: Sequence[Trial], number: int) -> None:
    last = max(trial.number for trial in trials)
    best = best_so_far(trials)
    if best:
        steps = [*best, (last, best[-1][1])]
        axes.plot(
            [x for x, _ in steps],
            [y for _, y in steps],
            drawstyle="steps-post",
            color="black",
            linewidth=0.9,
            gid=f"best-{number}",
        )
    for state, look in _LOOKS.items():
        placed = [(trial.number, reached(trial)) for trial in trials if trial.state == state]
        scored = [(x, y) for x, y in placed if y is not None]
        unscored = [(x, 0.03) for x, y in placed if y is None]
        if scored:
            axes.plot(
                *zip(*scored, strict=True),
                linestyle="none",
                zorder=3,
                ms=4,
                gid=f"{state}-{number}",
                **look,
            )
        if unscored:  # at the foot of the axes
            foot = axes.get_xaxis_transform()
            axes.plot(
                *zip(*unscored, strict=True),
                linestyle="none",
                transform=foot,
                clip_on=False,
                gid=f"{state}-unscored-{number}",
                **look,
            )
    axes.margins(0.04, 0.12)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1, steps=ROUND))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND))
