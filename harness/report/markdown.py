"""The leaderboard as GitHub's Markdown."""

import re
from collections.abc import Sequence
from dataclasses import replace

from harness.report.columns import NEAR, Entry, Layout, summary_columns, task_columns
from harness.report.notes import caption, notes_of, plain, tests_of, title_of
from harness.report.stats import Section

MANY_TASKS = 8
"""Beyond it, tasks go down and methods across."""


def markdown(parts: Sequence[Section], layout: Layout) -> str:
    return "\n\n".join(_section(section, layout) for section in parts) + "\n"


def _section(section: Section, layout: Layout) -> str:
    many = len(section.tasks) > MANY_TASKS and not layout.groups
    columns = [*([] if layout.groups else task_columns(section)), *summary_columns(section, replace(layout, groups=layout.groups or many))]
    grid = [["Method", *(_escaped(column.title) for column in columns)]]
    grid += [[_escaped(variant), *(_marked(column.entries[variant]) for column in columns)] for variant in section.scores]
    if many:
        grid = [list(line) for line in zip(*grid, strict=True)]
        grid[0][0] = "Task"
    lines = [grid[0], ["---", *["---:"] * (len(grid[0]) - 1)], *grid[1:]]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    said = caption(section, "italic", near="" if layout.groups else NEAR, groups=layout.groups or many)
    notes = "\n".join(f"- {_escaped(note)}" for note in [said, *tests_of(section, layout), *notes_of(section)])
    return f"### {_escaped(title_of(section))}\n\n{table}\n\n{notes}"


def _marked(entry: Entry) -> str:
    around = {1: "**", 2: "*"}.get(entry.place, "")
    text = entry.text if around else _escaped(entry.text)
    return " ".join(filter(None, (f"{around}{text}{around}{NEAR if entry.near else ''}", _escaped(entry.detail))))


def _escaped(text: str) -> str:
    return re.sub(r"([\\|*<>\[\]`&])", r"\\\1", plain(text))
