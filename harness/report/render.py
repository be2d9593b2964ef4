"""`harness report`: what is stored, filtered, in the format that is asked for."""

from collections.abc import Collection, Sequence

from rich.console import RenderableType

from harness.errors import unknown
from harness.report import frame
from harness.report.columns import Layout
from harness.report.document import csv, json_
from harness.report.markdown import markdown
from harness.report.selection import of_methods, stored
from harness.report.stats import sections
from harness.report.terminal import Leaderboard
from harness.store import Store

FORMATS = ("table", "md", "csv", "json")


def render(
    store: Store,
    *,
    tasks: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    suite_name: str | None = None,
    fmt: str = "table",
    cells: Collection[str] | None = None,
) -> str | RenderableType:
    """The leaderboard of what is stored: a str for md, csv and json, something that rich prints for table.

    `tasks` are the columns' names and order, None for all, with a table for each suite. `methods` are names (`ivpt`: all its variants) or
    whole variants (`ivpt(da=false)`). `cells` narrows it to the cells with these keys. `suite_name` is for display. Raises `BadInput`.
    """
    if fmt not in FORMATS:
        raise unknown("format", fmt, FORMATS)
    results, failed = stored(store, tasks, suite_name, cells)
    if methods is not None:
        results, failed = of_methods(results, failed, methods)
    parts = sections(frame.leaderboard(results, failed), tasks, suite_name)
    if fmt == "table":
        return Leaderboard(parts, Layout())
    return {"md": lambda parts: markdown(parts, Layout()), "csv": csv, "json": json_}[fmt](parts)
