"""Published numbers for the page's own tab, each in the column that it belongs to: looked at beside what was measured, and nothing else."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.plain import plain
from harness.report.published import Published, beside, differences, means, means_disagree
from harness.report.stats import Section

ALIASES = {"bitfit": "bias", "adaptformer": "adapter", "adapter": "adapter of papers"}
"""Methods that papers name otherwise. Ours named `adapter` is AdaptFormer; what papers call Adapter is Houlsby's or Pfeiffer's."""


def published_rows(section: Section, frame: pd.DataFrame | None) -> dict[str, Any]:
    """`rows`, and where there are none the `reason`; their `sources`; and the `faults` of printed means that aren't those of their numbers.

    A row has `method`, `key` (the method as it is named here), `identity`, `apart` (what is known to differ from the section) and `values`:
    a list of [column, value, place of its source], a column being "mean", "mean_of_groups", "group,N", "task,N" or "other,NAME".
    """
    if frame is None:
        return {"rows": [], "reason": "none were given", "sources": [], "faults": []}
    found = beside(section, frame)
    methods = {row.method for row in found.rows}
    faults = [plain(line) for line in means_disagree(frame) if any(line.startswith(f"{method} on ") for method in methods)]
    sources = sorted({plain(source) for row in found.rows for source in row.sources.values()})
    places = {source: place for place, source in enumerate(sources)}
    return {"rows": [_row(section, row, places) for row in found.rows], "reason": found.reason, "sources": sources, "faults": faults}


def _row(section: Section, row: Published, places: Mapping[str, int]) -> dict[str, Any]:
    numbers = [[f"task,{section.tasks.index(task)}", value, places[plain(row.sources[task])]] for task, value in row.numbers.items()]
    printed = [[_column(section, name), value, places[plain(row.sources[name])]] for name, value in row.means.items()]
    return {
        "method": plain(row.method),
        "key": _key(row.method),
        "identity": plain(f"{row.backbone} · {row.pretrain}"),
        "apart": [plain(phrase) for phrase in differences(section, row)],
        "values": numbers + printed,
    }


def _key(method: str) -> str:
    name = re.sub(r"\(.*", "", method).strip().lower()
    return ALIASES.get(name, name)


def _column(section: Section, name: str) -> str:
    """The column of a printed mean, where the page has one of the same tasks."""
    tasks = set(means()[name])
    if tasks == set(section.tasks):
        return "mean_of_groups" if name.endswith("_groups") else "mean"
    for place, group in enumerate(section.groups.values()):
        if tasks == set(group):
            return f"group,{place}"
    return f"other,{name}"
