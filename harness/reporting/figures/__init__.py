"""Figures for a paper, by matplotlib without a display: `figure` draws one, `save` writes it.

Each kind has its own file. Text stays text in PDF and SVG, the same data give the same bytes, and
marks differ by more than colour.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import IO

from matplotlib.figure import Figure

from harness.errors import BadInput, unknown
from harness.io.atomic import replacing
from harness.reporting.captions import title_of
from harness.reporting.figures import ablation, cost, differences, ranks, search, tradeoff
from harness.reporting.figures.style import style
from harness.reporting.figures.text import captions, shown
from harness.reporting.section import Section
from harness.store import Store

FIGURES = {
    "tradeoff": "mean score against a cost, with the Pareto front",
    "ranks": "mean ranks and the critical difference between them",
    "differences": "each task's difference to a baseline, with intervals over paired seeds",
    "ablation": "what each setting of a method's toggles is worth",
    "search": "validation scores of a study, trial by trial",
    "cost": "seconds and memory of a method's final run",
}
"""What each figure shows, by its name."""

SUFFIXES = (".png", ".pdf", ".svg")


def figure(
    kind: str,
    parts: Sequence[Section],
    *,
    store: Store | None = None,
    baseline: str | None = None,
    x: str | None = None,
    caption: bool = True,
) -> Figure:
    """One of `FIGURES`, of a leaderboard's section with most rows. `differences` needs a baseline,
    `search` the store; `x` is the cost of a `tradeoff`, tuned parameters unless given. `caption`:
    whether what it shows is written below.

    Raises `BadInput` for an unknown kind, or too little to draw, and says what is missing.
    """
    if kind not in FIGURES:
        raise unknown("figure", kind, FIGURES)
    section = largest(parts)
    if x is not None and kind != "tradeoff":
        raise BadInput(f"figure {kind}: only a tradeoff has a cost (x) to choose.")
    if kind == "search" and store is None:
        raise ValueError("figure search: give the store, which holds the trials")
    with style(), captions(caption):
        drawn = _draw(kind, section, store, baseline, x or "params")
    drawn.set_label(f"{FIGURES[kind]}: {shown(title_of(section))}")
    return drawn


def largest(parts: Sequence[Section]) -> Section:
    """The section with most rows; of several, the first."""
    return max(parts, key=lambda part: sum(len(row.scores) for row in part.board))


def left_out(parts: Sequence[Section]) -> str | None:
    """A sentence on the sections that a figure doesn't show."""
    if len(parts) < 2:
        return None
    section = largest(parts)
    others = "; ".join(shown(title_of(part)) for part in parts if part is not section)
    return (
        f"The figure shows {shown(title_of(section))}, which has most rows here. Not in it:"
        f" {others}. --backbone, --protocol, --kind and --suite choose."
    )


def _draw(kind: str, section: Section, store: Store | None, baseline: str | None, x: str) -> Figure:
    if kind == "tradeoff":
        return tradeoff.draw(section, x)
    if kind == "differences":
        return differences.draw(section, baseline)
    if kind == "search" and store is not None:
        return search.draw(section, store)
    if kind == "ablation":
        return ablation.draw(section, store)
    return {"ranks": ranks, "cost": cost}[kind].draw(section)


def save(drawn: Figure, path: Path) -> None:
    """Writes PNG (300 dots per inch), PDF or SVG, as the suffix says, whole or not at all. Raises
    `BadInput`."""
    form = path.suffix.lower()
    if form not in SUFFIXES:
        raise BadInput(f"{path}: a figure can be written as {', '.join(SUFFIXES)}.")
    if not path.parent.is_dir():
        raise BadInput(f"{path}: there is no folder {path.parent}.")
    with replacing(path) as file:
        encode(drawn, file, form[1:])


def encode(drawn: Figure, file: IO[bytes], form: str) -> None:
    """Writes `png`, `pdf` or `svg`; the same data give the same bytes."""
    title = {"Title": drawn.get_label()}
    dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    with style():
        drawn.savefig(file, format=form, metadata={**title, **dates.get(form, {})})
