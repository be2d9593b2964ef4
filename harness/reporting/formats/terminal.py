"""The leaderboard in a terminal, by rich."""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from harness.reporting.captions import caption, notes_of, tests_of, title_of
from harness.reporting.columns import (
    NEAR,
    Entry,
    Layout,
    summary_columns,
    task_columns,
    title_of_column,
)
from harness.reporting.contents import Contents
from harness.reporting.costs import BUDGETS, USUAL
from harness.reporting.formats.format import Format
from harness.reporting.published.numbers import PublishedNumber
from harness.reporting.published.table import PublishedTable, published_table
from harness.reporting.section import Section
from harness.text import plain

_LEAST = ("Epochs", "Params", "W/T/L", "Rank", "Trials")
"""Columns that a narrow terminal leaves out, after the groups, in this order, unless they were
asked for by name."""


class _Terminal(Format):
    suffixes = (".txt",)

    def render(self, contents: Contents, live: str = "") -> "LeaderboardTable":
        return LeaderboardTable(
            contents.sections, contents.checked_layout, contents.published_numbers
        )

    def content(self, contents: Contents) -> bytes:
        text = io.StringIO()
        Console(file=text, width=120).print(self.render(contents))
        return text.getvalue().encode()


TERMINAL = _Terminal()


class LeaderboardTable:
    """Prints itself with rich, in the fullest layout that fits the width: one line per method, two
    lines, means of groups."""

    def __init__(
        self,
        parts: Sequence[Section],
        layout: Layout,
        published: Sequence[PublishedNumber] | None = None,
    ):
        self.parts, self.layout, self.published = parts, layout, published

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        for section in self.parts:
            yield Text(plain(title_of(section)), style="bold")
            table, in_full, dropped = self._fitting(section, console, options)
            yield table
            kept = [name for name in self.layout.columns if title_of_column(name) not in dropped]
            lines = [
                caption(
                    section,
                    "underlined",
                    spread=in_full,
                    near=NEAR if in_full else "",
                    groups=not in_full,
                    layout=replace(self.layout, columns=tuple(kept)),
                )
            ]
            if not in_full and not self.layout.groups:
                tasks = len(section.tasks)
                lines.append(
                    f"{tasks} tasks don't fit here: --format md, csv and html show all of them."
                    if tasks > 1
                    else "The task doesn't fit here: --format md, csv and html show it."
                )
            asked = [
                title_of_column(name)
                for name in self.layout.columns
                if name not in kept and self.layout.columns != USUAL
            ]
            if asked:
                lines.append(f"Left out here: {', '.join(asked)}. --format md shows them.")
            for line in [*lines, *tests_of(section, self.layout), *notes_of(section)]:
                yield Text(plain(line), style="dim")
            if self.published is not None:
                yield Text()
                yield from _published(
                    published_table(section, self.published, not in_full), options.max_width
                )
            yield Text()

    def _fitting(
        self, section: Section, console: Console, options: ConsoleOptions
    ) -> tuple[Table, bool, list[str]]:
        """The fullest table that fits; whether it has all tasks; and titles that it leaves out."""
        layout, groups = self.layout, replace(self.layout, groups=True)
        # `99.9` a task: measuring large tables takes long
        hopeless = layout.groups or 4 * len(section.tasks) > options.max_width
        looks = () if hopeless else ((False, 1), (True, 1), (True, 0))
        full = ((_table(section, layout, *look), True, list[str]()) for look in looks)
        looks = ((False, 1), (False, 0), (True, 0))
        folded = [(_table(section, groups, *look), False, list[str]()) for look in looks]
        droppable = _droppable(section, layout)
        less = (
            (
                _table(section, groups, True, gap, droppable[: count + 1]),
                False,
                droppable[: count + 1],
            )
            for count in range(len(droppable))
            for gap in (1, 0)
        )
        room = options.update(max_width=10_000)
        fitting = (
            found
            for found in chain(full, folded, less)
            if console.measure(found[0], options=room).maximum <= options.max_width
        )
        return next(fitting, folded[-1])


def _droppable(section: Section, layout: Layout) -> list[str]:
    """Titles of columns that a narrow terminal leaves out, in this order: the groups, then what
    nobody has asked for, then what was asked for last."""
    groups = [f"{group} ({len(tasks)})" for group, tasks in section.groups.items()]
    by_default = {*USUAL, *BUDGETS}.issuperset(layout.columns)
    asked = [title_of_column(name) for name in reversed(layout.columns)]
    least = _LEAST if by_default else [title for title in _LEAST if title not in asked]
    return [*groups, *dict.fromkeys((*least, *asked))]


def _table(
    section: Section, layout: Layout, stacked: bool, gap: int, without: Sequence[str] = ()
) -> Table:
    """Methods down. `stacked` puts the spread below its number, `gap` widens the space between
    columns, those `without` are left out."""
    columns = [*([] if layout.groups else task_columns(section)), *summary_columns(section, layout)]
    columns = [column for column in columns if column.title not in without]
    table = Table(
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, gap, 0, 0),
        collapse_padding=True,
    )
    table.add_column("Method", no_wrap=True, vertical="top")
    narrow = stacked or layout.groups
    for column in columns:
        title = plain(column.title)
        table.add_column(Text(_broken(title) if narrow else title), justify="right", no_wrap=True)
    marked = [any(entry.near for entry in column.entries.values()) for column in columns]
    for variant in section.scores:
        label = plain(variant)
        entries = [
            _styled(column.entries[variant], "\n" if stacked else " ", stacked, mark)
            for column, mark in zip(columns, marked, strict=True)
        ]
        table.add_row(Text(_broken_variant(label) if narrow else label), *entries)
    return table


def _published(published: PublishedTable, width: int) -> Iterator[RenderableType]:
    """Papers' numbers, as narrow as the terminal: if not all columns fit, only the last ones, the
    means, and notes in brackets below their names."""
    left_out = ""
    if published.grid:
        head, *rows = published.grid
        table = Table(
            box=SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0),
            collapse_padding=True,
        )
        names = [name for name, *_ in rows]
        if (first := _first_fitting(head, names, width)) > 1:
            names = [name.replace("(", "\n(") for name in names]
            first = _first_fitting(head, names, width)
        if dropped := head[1:first]:
            left_out = f"Left out here: {', '.join(dropped)}. --format md shows them."
        table.add_column(Text(head[0]), no_wrap=True)
        for title in head[first:]:
            table.add_column(Text(_broken(title)), justify="right", no_wrap=True)
        for name, (_, *numbers) in zip(names, rows, strict=True):
            table.add_row(Text(name), *(Text(number) for number in numbers[first - 1 :]))
        yield table
    for note in filter(None, (left_out, *published.notes)):
        yield Text(note, style="dim")


def _first_fitting(head: Sequence[str], names: Sequence[str], width: int) -> int:
    """The place in `head` from which on all columns fit beside these names."""
    room = width - 2 - max(len(line) for name in (head[0], *names) for line in name.split("\n"))
    first = len(head)
    while first > 1:
        room -= 1 + max(5, *map(len, _broken(head[first - 1]).split("\n")))
        if room < 0:
            break
        first -= 1
    return first


def _styled(entry: Entry, between: str, stacked: bool, marked: bool) -> Text:
    """`marked`: some entry of the column has a mark, so all of them leave room for one."""
    style = {1: "bold", 2: "underline"}.get(entry.place, "red" if entry.text == "failed" else "")
    mark = (NEAR if entry.near else " ") if marked else ""
    detail = (
        [between, (entry.detail + (mark and " " if stacked else ""), "dim")] if entry.detail else []
    )
    # a style of the whole would underline the padding too
    text = Text.assemble((entry.text, style), mark, *detail)
    text.no_wrap = True
    return text


def _broken(title: str) -> str:
    """`sprites-location` and `Mean of 19` in lines as short as their words."""
    return re.sub(r"(?<=[-_])(?=\w{3})| (?=of |mIoU|GFLOP)| (?=\()", "\n", title)


def _broken_variant(label: str, width: int = 16) -> str:
    """`ivpt(da=false,prompts=50)` with its arguments in lines of their own."""
    name, bracket, inside = label.partition("(")
    lines = [name]
    for part in re.findall(r"[^,]*,|[^,]+$", bracket + inside):
        if len(lines) > 1 and len(lines[-1]) + len(part) <= width:
            lines[-1] += part
        else:
            lines.append(part)
    return "\n".join(lines)
