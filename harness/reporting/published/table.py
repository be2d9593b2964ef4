"""Published numbers as a table next to a section's: never ranked, never marked best, each row with
its source and what sets it apart."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.reporting.display import NOTHING, rounded
from harness.reporting.published.chosen_on_test import chosen_on_test
from harness.reporting.published.numbers import (
    PublishedNumber,
    differences,
    disagreeing,
    matching_rows,
    means,
)
from harness.reporting.published.setups import UNKNOWN
from harness.reporting.section import Section
from harness.text import plain


@dataclass(frozen=True)
class PublishedTable:
    """A grid of texts, header first, and the notes below it; if there are no rows, the notes say
    why."""

    grid: list[list[str]]
    notes: list[str]


def published_table(
    section: Section, published: Sequence[PublishedNumber], groups: bool
) -> PublishedTable:
    """The rows of `published.published()` that may be shown next to a section: numbers by task, or
    with `groups`, printed means only."""
    matches = matching_rows(section, published)
    if not matches.rows:
        return PublishedTable([], [f"Published: none, {matches.reason}."])
    shown = (
        [task for task in section.tasks if any(task in row.numbers for row in matches.rows)]
        if not groups
        else []
    )
    named = [name for name in means() if any(name in row.means for row in matches.rows)]
    head = ["Published", *shown, *(_mean(name) for name in named)]
    sources: dict[tuple[str, ...], int] = {}
    grid = [head]
    for row in matches.rows:
        number = sources.setdefault(
            (plain(row.source.rstrip(".")), *map(plain, differences(section, row))),
            len(sources) + 1,
        )
        numbers = [rounded(row.numbers.get(task), 1) for task in shown] + [
            rounded(row.means.get(name), 2) for name in named
        ]
        if set(numbers) != {NOTHING}:
            grid.append([f"{plain(row.method)} [{number}]", *numbers])
    notes = ["Published numbers, rounded as those above; no mean, rank or test here includes them."]
    rows_of_source: dict[str, list[int]] = {}
    rows_of_phrase: dict[str, list[int]] = {}
    for (source, *apart), number in sources.items():
        rows_of_source.setdefault(source, []).append(number)
        for phrase in apart:
            rows_of_phrase.setdefault(phrase, []).append(number)
    notes += [f"{_ranges(numbers)} {source}." for source, numbers in rows_of_source.items()]
    apart = [(phrase, _ranges(numbers)) for phrase, numbers in rows_of_phrase.items()]
    notes += [
        f"Unlike here, {of}: {phrase}." for phrase, of in apart if not phrase.endswith(UNKNOWN)
    ]
    notes += [
        f"Not known of {of}: {phrase.removesuffix(UNKNOWN)}."
        for phrase, of in apart
        if phrase.endswith(UNKNOWN)
    ]
    wrong = disagreeing(matches.rows, published)
    return PublishedTable(grid, notes + chosen_on_test(section, matches.rows) + wrong)


def _mean(name: str) -> str:
    """`mean-vtab_natural7` as a column's title."""
    titles = {
        "mean-vtab19_tasks": "Mean of 19",
        "mean-vtab3_groups": "Mean of 3 groups",
        "mean-fgvc5": "Mean of 5",
    }
    group = name.removeprefix("mean-vtab_")
    return titles.get(name) or f"{group.rstrip('0123456789')} ({len(means()[name])})"


def _ranges(numbers: Sequence[int]) -> str:
    """[1 to 3, 7], for increasing numbers."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = (f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
    return f"[{', '.join(parts)}]"
