"""A table's columns as they are shown: numbers rounded, the best and the second marked, gaps as gaps."""

from collections.abc import Mapping
from dataclasses import dataclass

from harness.report.stats import Section

NOTHING = "\u2013"


def rounded(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def counted(value: float | None) -> str:
    """Three digits are enough: 960, 9.6k, 46.1k, 1.25M."""
    if value is None:
        return NOTHING
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size * 0.9995:
            return f"{value / size:.3g}{unit}" if value < size * 999.5 else f"{value / size:.0f}{unit}"
    return f"{value:.0f}"


def places_of(values: Mapping[str, float | None], digits: int, lowest: bool = False) -> dict[str, int]:
    """Who is first and who second, {variant: 1 or 2}, by the digits that are shown: what looks equal shares a place."""
    shown = {variant: round(value, digits) for variant, value in values.items() if value is not None}
    if len(values) < 2:
        return {}
    best = sorted(set(shown.values()), reverse=not lowest)[:2]
    return {variant: best.index(value) + 1 for variant, value in shown.items() if value in best}


@dataclass(frozen=True)
class Entry:
    """A square as shown: its number, what comes small after it, and its place (1, 2, or 0)."""

    text: str
    detail: str = ""
    place: int = 0


@dataclass(frozen=True)
class Column:
    title: str
    entries: dict[str, Entry]
    """By variant."""


def task_columns(section: Section) -> list[Column]:
    columns = []
    for task in section.tasks:
        places = places_of({variant: scores.get(task) for variant, scores in section.scores.items()}, 1)
        entries = {}
        for variant, scores in section.scores.items():
            row = section.squares.get((variant, task))
            if task in scores and row is not None:
                spread = f"±{row['std']:.1f}" if row["n"] > 1 else f"n={row['n']}" if section.seeds > 1 else ""
                entries[variant] = Entry(f"{scores[task]:.1f}", spread, places.get(variant, 0))
            else:
                entries[variant] = Entry("failed" if row is not None else NOTHING)
        columns.append(Column(task, entries))
    return columns


def summary_columns(section: Section, groups: bool) -> list[Column]:
    methods, count = section.methods, len(section.tasks)
    columns = [Column("Params", {variant: Entry(counted(said["params"])) for variant, said in methods.items()})]
    if groups:
        for group, tasks in section.groups.items():
            columns.append(_means(f"{group} ({len(tasks)})", {variant: said["group_means"][group] for variant, said in methods.items()}))
    columns.append(_means(f"Mean of {count}", {variant: said["mean"] for variant, said in methods.items()}))
    if groups and len(section.groups) > 1:
        columns.append(
            _means(f"Mean of {len(section.groups)} groups", {variant: said["mean_of_groups"] for variant, said in methods.items()})
        )
    if len(methods) > 1:
        columns.append(_means("Rank", {variant: said["mean_rank"] for variant, said in methods.items()}, lowest=True))
    return columns


def _means(title: str, values: Mapping[str, float | None], lowest: bool = False) -> Column:
    places = places_of(values, 2, lowest)
    return Column(title, {variant: Entry(rounded(value, 2), place=places.get(variant, 0)) for variant, value in values.items()})
