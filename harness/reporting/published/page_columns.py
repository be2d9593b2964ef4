"""Published numbers for the page's own tab, each in the column that it belongs to: shown next to
measured ones, and used for nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.reporting.display import rounded
from harness.reporting.published.chosen_on_test import chosen_on_test
from harness.reporting.published.numbers import (
    PublishedNumber,
    PublishedRow,
    differences,
    disagreeing,
    matching_rows,
    means,
    named_here,
)
from harness.reporting.section import Section
from harness.text import plain


def published_rows(section: Section, published: Sequence[PublishedNumber]) -> dict[str, Any]:
    """`rows`, and if there are none, the `reason`; their `sources`, and the `phrases` for what sets
    them apart, without repeats; the `faults` of printed means that disagree with their own
    numbers; and `chosen`, sentences on what choosing the epoch on test is worth.

    A row has `method`, `key` (the method as it is named here), `identity`, `apart` (places of
    phrases) and `values`: a list of [column, value, place of its source, text], a column being
    "mean", "mean_of_groups", "group,N", "task,N" or "other,NAME".
    """
    matches = matching_rows(section, published)
    faults = list(map(plain, disagreeing(matches.rows, published)))
    sources = sorted({plain(source) for row in matches.rows for source in row.sources.values()})
    places = {source: place for place, source in enumerate(sources)}
    phrases: dict[str, int] = {}
    rows = [_row(section, row, places, phrases) for row in matches.rows]
    return {
        "rows": rows,
        "reason": matches.reason,
        "sources": sources,
        "phrases": list(phrases),
        "faults": faults,
        "chosen": chosen_on_test(section, matches.rows),
    }


def _row(
    section: Section, row: PublishedRow, places: Mapping[str, int], phrases: dict[str, int]
) -> dict[str, Any]:
    numbers = [
        [
            f"task,{section.tasks.index(task)}",
            value,
            places[plain(row.sources[task])],
            rounded(value, 1),
        ]
        for task, value in row.numbers.items()
    ]
    printed = [
        [_column(section, name), value, places[plain(row.sources[name])], rounded(value, 2)]
        for name, value in row.means.items()
    ]
    return {
        "method": plain(row.method),
        "key": named_here(row.method),
        "identity": plain(f"{row.backbone} · {row.pretrain}"),
        "apart": [
            phrases.setdefault(plain(phrase), len(phrases)) for phrase in differences(section, row)
        ],
        "values": numbers + printed,
    }


def _column(section: Section, name: str) -> str:
    """The column of a printed mean, if the page has one over the same tasks."""
    tasks = set(means()[name])
    if tasks == set(section.tasks):
        return "mean_of_groups" if name.endswith("_groups") else "mean"
    for place, group in enumerate(section.groups.values()):
        if tasks == set(group):
            return f"group,{place}"
    return f"other,{name}"
