"""The leaderboard as GitHub's Markdown. With many tasks, these are the rows and methods the
columns."""

import re
from collections.abc import Sequence
from dataclasses import replace

from harness.reporting.captions import caption, notes_of, tests_of, title_of
from harness.reporting.columns import MANY_TASKS, NEAR, Entry, Layout, summary_columns, task_columns
from harness.reporting.contents import Contents
from harness.reporting.formats.format import TextFormat
from harness.reporting.published.numbers import PublishedNumber
from harness.reporting.published.table import published_table
from harness.reporting.section import Section
from harness.text import plain


class _Markdown(TextFormat):
    def render(self, contents: Contents, live: str = "") -> str:
        return markdown(contents.sections, contents.checked_layout, contents.published_numbers)


MARKDOWN = _Markdown()


def markdown(
    parts: Sequence[Section], layout: Layout, published: Sequence[PublishedNumber] | None = None
) -> str:
    return "\n\n".join(_section(section, layout, published) for section in parts) + "\n"


def _section(section: Section, layout: Layout, published: Sequence[PublishedNumber] | None) -> str:
    many = len(section.tasks) > MANY_TASKS and not layout.groups
    columns = [
        *([] if layout.groups else task_columns(section)),
        *summary_columns(section, replace(layout, groups=layout.groups or many)),
    ]
    grid = [["Method", *(_escaped(column.title) for column in columns)]]
    grid += [
        [_escaped(variant), *(_marked(column.entries[variant]) for column in columns)]
        for variant in section.scores
    ]
    table = _table(grid, "Task" if many else None)
    legend = caption(
        section,
        "italic",
        near="" if layout.groups else NEAR,
        groups=layout.groups or many,
        layout=layout,
    )
    notes = "\n".join(
        f"- {_escaped(note)}" for note in [legend, *tests_of(section, layout), *notes_of(section)]
    )
    text = f"### {_escaped(title_of(section))}\n\n{table}\n\n{notes}"
    if published is not None:
        printed = published_table(section, published, layout.groups)
        grid = [[_escaped(cell) for cell in row] for row in printed.grid]
        text += (
            "\n\n"
            + (_table(grid, "Task" if many else None) + "\n\n" if grid else "")
            + "\n".join(f"- {_escaped(note)}" for note in printed.notes)
        )
    return text


def _table(grid: list[list[str]], down: str | None) -> str:
    """Rows of cells, the first being the header; with `down`, transposed, and the first column has
    that title."""
    if down is not None:
        grid = [list(line) for line in zip(*grid, strict=True)]
        grid[0][0] = down
    lines = [grid[0], ["---", *["---:"] * (len(grid[0]) - 1)], *grid[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _marked(entry: Entry) -> str:
    around = {1: "**", 2: "*"}.get(entry.place, "")
    text = entry.text if around else _escaped(entry.text)
    return " ".join(
        filter(
            None, (f"{around}{text}{around}{NEAR if entry.near else ''}", _escaped(entry.detail))
        )
    )


def _escaped(text: str) -> str:
    return re.sub(r"([\\|*<>\[\]`&])", r"\\\1", plain(text))
