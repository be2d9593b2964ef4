"""`harness report`: what is stored, filtered, in the format that is asked for."""

import re
from collections.abc import Collection, Sequence

import pandas as pd
from rich.console import RenderableType

from harness.errors import BadInput, unknown
from harness.report import frame
from harness.report.columns import Layout
from harness.report.document import csv, json_
from harness.report.markdown import markdown
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
    results, failed = frame.rows(store, cells), frame.failures(store, cells)
    if results.empty and failed.empty:
        raise BadInput(f"{store.name} holds no results{'' if cells is None else ' of this run'}: `harness run` makes some.")
    if tasks is not None:
        results, failed = (_where(part, "task", tasks) for part in (results, failed))
        if results.empty and failed.empty:
            flag = f"--suite {suite_name}" if suite_name else f"--tasks {','.join(tasks)}"
            raise BadInput(f"{store.name} holds no results of {flag.split(' ', 1)[1]}: `harness run {flag}` makes them.")
    if methods is not None:
        results, failed = _of_methods(results, failed, methods)
    parts = sections(frame.leaderboard(results, failed), tasks, suite_name)
    if fmt == "table":
        return Leaderboard(parts, Layout())
    return {"md": lambda parts: markdown(parts, Layout()), "csv": csv, "json": json_}[fmt](parts)


def _where(part: pd.DataFrame, column: str, values: Collection[str]) -> pd.DataFrame:
    return pd.DataFrame(part[part[column].isin(list(values))])


def _of_methods(results: pd.DataFrame, failed: pd.DataFrame, methods: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    known = {row["variant"]: row["method"] for part in (results, failed) for row in frame.records(part)}
    wanted: set[str] = set()
    for name in methods:
        found = {variant for variant, method in known.items() if method == name or _canonical(variant) == _canonical(name)}
        if not found:
            raise unknown("method", name, {*known.values(), *known})
        wanted |= found
    return _where(results, "variant", wanted), _where(failed, "variant", wanted)


def _canonical(variant: str) -> str:
    """The variant without spaces, its arguments sorted."""
    name, _, inside = re.sub(r"\s", "", variant).partition("(")
    return f"{name}({','.join(sorted(inside.removesuffix(')').split(',')))})"
