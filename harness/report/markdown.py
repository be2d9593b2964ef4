"""The leaderboard as GitHub's Markdown."""

import re
from collections.abc import Sequence

from harness.report.columns import Entry, summary_columns, task_columns
from harness.report.notes import caption, notes_of, plain, title_of
from harness.report.stats import Section

MANY_TASKS = 8
"""Beyond it, tasks go down and methods across."""


def markdown(parts: Sequence[Section]) -> str:
    return "\n\n".join(_markdown_section(section) for section in parts) + "\n"


def _markdown_section(section: Section) -> str:
    many = len(section.tasks) > MANY_TASKS
    columns = [*task_columns(section), *summary_columns(section, groups=many)]
    grid = [["Method", *(_escaped(column.title) for column in columns)]]
    grid += [[_escaped(variant), *(_marked(column.entries[variant]) for column in columns)] for variant in section.scores]
    if many:
        grid = [list(line) for line in zip(*grid, strict=True)]
        grid[0][0] = "Task"
    lines = [grid[0], ["---", *["---:"] * (len(grid[0]) - 1)], *grid[1:]]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "\n".join(f"- {_escaped(note)}" for note in [caption(section, "italic"), *notes_of(section)])
    return f"### {_escaped(title_of(section))}\n\n{table}\n\n{notes}"


def _marked(entry: Entry) -> str:
    around = {1: "**", 2: "*"}.get(entry.place, "")
    return " ".join(filter(None, (f"{around}{entry.text}{around}", entry.detail)))


def _escaped(text: str) -> str:
    return re.sub(r"([\\|*<>\[\]`&])", r"\\\1", plain(text))
