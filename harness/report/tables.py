"""Leaderboards as text: a table for the terminal, Markdown, CSV, JSON. They show what is stored, and what is missing as missing."""

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from harness.errors import BadInput, unknown
from harness.report import frame
from harness.report.stats import Section, common_tasks, sections
from harness.store import Store

FORMATS = ("table", "md", "csv", "json")
NOTHING = "\u2013"
METRICS = {"top1": "Top-1 accuracy", "miou": "mIoU"}

_MANY_TASKS = 8
"""Beyond it, Markdown has tasks down and methods across."""


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
        return Leaderboard(parts)
    return {"md": _markdown, "csv": _csv, "json": _json}[fmt](parts)


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


# --- what all formats say under a table ---


def _caption(section: Section, second: str, spread: bool = True) -> str:
    metric = METRICS.get(section.first["metric"], section.first["metric"])
    over = f"mean{' ± standard deviation' if spread else ''} over {section.seeds} seeds" if section.seeds > 1 else "one seed, so no spread"
    marks = f" Bold: best, {second}: second." if len(section.scores) > 1 else ""
    return f"{metric} in %, {over}.{marks} Params: trained values without the head."


def _notes(section: Section) -> list[str]:
    """What a reader must know to trust the table: gaps, and whatever isn't equal for all."""
    squares, notes = section.squares.values(), _failures(section)
    fewer = [f"{row['variant']} on {row['task']} ({row['n']})" for row in squares if 0 < row["n"] < section.seeds]
    if fewer:
        notes.append(f"Fewer than {section.seeds} seeds: {_some(fewer)}.")
    if section.missing:
        notes.append(f"No result yet on {len(section.missing)} of {len(section.wanted or ())} tasks: {_some(section.missing)}.")
    common, count = common_tasks(section.scores, section.tasks), len(section.tasks)
    if len(section.scores) > 1 and len(common) < count:
        over = f"over the {len(common)} of {count} tasks that every method has" if common else "none, since no task has every method"
        notes.append(f"Rank: {over}.")
    trials = {variant: [row["trials"] for row in squares if row["variant"] == variant] for variant in section.scores}
    if len({count for counts in trials.values() for count in counts}) > 1:
        said = [f"{variant} {'-'.join(map(str, sorted({min(counts), max(counts)})))}" for variant, counts in trials.items()]
        notes.append(f"Tuning budgets differ; trials a task: {', '.join(said)}.")
    for variant in section.scores:
        versions = sorted({row["version"] for row in squares if row["variant"] == variant})
        if len(versions) > 1:
            notes.append(f"{variant} was run in versions {', '.join(versions)} on different tasks.")
    for task in section.tasks:
        if len({row["data"] for row in squares if row["task"] == task}) > 1:
            notes.append(f"On {task}, methods were run on different data.")
    old = [f"{row['variant']} on {row['task']} ({row['superseded']})" for row in squares if row["superseded"]]
    if old:
        notes.append(f"Not shown, runs of an older version, card or data: {_some(old)}.")
    return notes + sorted({row["note"] for row in squares if row["note"]})


def _failures(section: Section) -> list[str]:
    """A line a reason; JSON has them one by one."""
    reasons: dict[str, list[str]] = {}
    for row in section.squares.values():
        by_reason: dict[str, list[int]] = {}
        for seed, reason in row["gaps"].items():
            by_reason.setdefault(reason, []).append(seed)
        for reason, seeds in by_reason.items():
            reasons.setdefault(reason, []).append(f"{row['variant']} on {row['task']} ({_seeds(seeds)})")
    lines = [f"Failed: {_some(places)}: {_short(reason)}" for reason, places in reasons.items()]
    return lines[:6] + ([f"{len(lines) - 6} more reasons of failure: see --format json."] if len(lines) > 6 else [])


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}"


def _some(items: Sequence[str], most: int = 6) -> str:
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def _short(text: str, most: int = 160) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _title(section: Section) -> str:
    return f"{section.suite} · {section.backbone} · protocol {section.protocol}"


# --- numbers as they are shown ---


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def _count(value: float | None) -> str:
    """Three digits are enough: 960, 9.6k, 46.1k, 1.25M."""
    if value is None:
        return NOTHING
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size * 0.9995:
            return f"{value / size:.3g}{unit}" if value < size * 999.5 else f"{value / size:.0f}{unit}"
    return f"{value:.0f}"


def _places(values: Mapping[str, float | None], digits: int, lowest: bool = False) -> dict[str, int]:
    """Who is first and who second, {variant: 1 or 2}, by the digits that are shown: what looks equal shares a place."""
    shown = {variant: round(value, digits) for variant, value in values.items() if value is not None}
    if len(values) < 2:
        return {}
    best = sorted(set(shown.values()), reverse=not lowest)[:2]
    return {variant: best.index(value) + 1 for variant, value in shown.items() if value in best}


@dataclass(frozen=True)
class _Entry:
    """A square as shown: its number, what comes small after it, and its place (1, 2, or 0)."""

    text: str
    detail: str = ""
    place: int = 0


@dataclass(frozen=True)
class _Column:
    title: str
    entries: dict[str, _Entry]
    """By variant."""


def _task_columns(section: Section) -> list[_Column]:
    columns = []
    for task in section.tasks:
        places = _places({variant: scores.get(task) for variant, scores in section.scores.items()}, 1)
        entries = {}
        for variant, scores in section.scores.items():
            row = section.squares.get((variant, task))
            if task in scores and row is not None:
                spread = f"±{row['std']:.1f}" if row["n"] > 1 else f"n={row['n']}" if section.seeds > 1 else ""
                entries[variant] = _Entry(f"{scores[task]:.1f}", spread, places.get(variant, 0))
            else:
                entries[variant] = _Entry("failed" if row is not None else NOTHING)
        columns.append(_Column(task, entries))
    return columns


def _summary_columns(section: Section, groups: bool) -> list[_Column]:
    methods, count = section.methods, len(section.tasks)
    columns = [_Column("Params", {variant: _Entry(_count(said["params"])) for variant, said in methods.items()})]
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


def _means(title: str, values: Mapping[str, float | None], lowest: bool = False) -> _Column:
    places = _places(values, 2, lowest)
    return _Column(title, {variant: _Entry(_number(value, 2), place=places.get(variant, 0)) for variant, value in values.items()})


# --- the terminal ---


class Leaderboard:
    """Prints itself with rich, in the fullest of its layouts that fits the width: one line a method, two lines, means of groups."""

    def __init__(self, parts: Sequence[Section]):
        self.parts = parts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        for section in self.parts:
            yield Text(_plain(_title(section)), style="bold")
            full = [_table(section, *layout) for layout in ((False, 1), (True, 1), (True, 0))]
            folded = [_table(section, False, gap, folded=True) for gap in (1, 0)]
            room = options.update(max_width=10_000)
            fitting = (t for t in (*full, *folded) if console.measure(t, options=room).maximum <= options.max_width)
            table = next(fitting, folded[-1])
            yield table
            lines = [_caption(section, "underlined", spread=table in full)]
            if table in folded:
                lines.append(f"{len(section.tasks)} tasks don't fit here: `harness report` with --format md, csv or json has each of them.")
            for line in lines + _notes(section):
                yield Text(_plain(line), style="dim")
            yield Text()


def _table(section: Section, stacked: bool, gap: int, folded: bool = False) -> Table:
    """Methods down. `stacked` puts the spread below its number, `gap` widens the space between columns, `folded` shows groups for tasks."""
    columns = [*([] if folded else _task_columns(section)), *_summary_columns(section, groups=folded)]
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0), collapse_padding=True)
    table.add_column("Method", no_wrap=True, vertical="top")
    narrow = stacked or folded
    for column in columns:
        title = _plain(column.title)
        table.add_column(Text(_broken(title) if narrow else title), justify="right", no_wrap=True)
    for variant in section.scores:
        label = _plain(variant)
        entries = [_styled(column.entries[variant], "\n" if stacked else " ") for column in columns]
        table.add_row(Text(_broken_variant(label) if narrow else label), *entries)
    return table


def _styled(entry: _Entry, between: str) -> Text:
    style = {1: "bold", 2: "underline"}.get(entry.place, "red" if entry.text == "failed" else "")
    detail = [between, (entry.detail, "dim")] if entry.detail else []
    text = Text.assemble((entry.text, style), *detail)  # a style of the whole would underline the padding too
    text.no_wrap = True
    return text


def _broken(title: str) -> str:
    """`sprites-location` and `Mean of 19` in lines as short as their words."""
    return re.sub(r"(?<=[-_])(?=\w{3})| (?=of )| (?=\()", "\n", title)


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


def _plain(text: str) -> str:
    """Without control characters: names and reasons come from outside."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+", " ", text)


# --- files ---


def _markdown(parts: Sequence[Section]) -> str:
    return "\n\n".join(_markdown_section(section) for section in parts) + "\n"


def _markdown_section(section: Section) -> str:
    many = len(section.tasks) > _MANY_TASKS
    columns = [*_task_columns(section), *_summary_columns(section, groups=many)]
    grid = [["Method", *(_escaped(column.title) for column in columns)]]
    grid += [[_escaped(variant), *(_marked(column.entries[variant]) for column in columns)] for variant in section.scores]
    if many:
        grid = [list(line) for line in zip(*grid, strict=True)]
        grid[0][0] = "Task"
    lines = [grid[0], ["---", *["---:"] * (len(grid[0]) - 1)], *grid[1:]]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "\n".join(f"- {_escaped(note)}" for note in [_caption(section, "italic"), *_notes(section)])
    return f"### {_escaped(_title(section))}\n\n{table}\n\n{notes}"


def _marked(entry: _Entry) -> str:
    around = {1: "**", 2: "*"}.get(entry.place, "")
    return " ".join(filter(None, (f"{around}{entry.text}{around}", entry.detail)))


def _escaped(text: str) -> str:
    return re.sub(r"([\\|*<>\[\]`&])", r"\\\1", _plain(text))


def _csv(parts: Sequence[Section]) -> str:
    """One line a square, in full precision; a gap has n = 0 and says why."""
    board = pd.DataFrame(_rows(parts))
    board["ids"] = board["ids"].map(" ".join)
    board["gaps"] = board["gaps"].map(lambda gaps: "; ".join(f"seed {seed}: {reason}" for seed, reason in gaps.items()))
    return board.to_csv(index=False)


def _rows(parts: Sequence[Section]) -> list[dict[str, Any]]:
    """The squares of all sections in the order of the tables, without what is of no use outside."""
    dropped = {"cell", "settings", "note", "data", "position"}
    found = []
    for section in parts:
        for variant in section.scores:
            squares = (section.squares[variant, task] for task in section.tasks if (variant, task) in section.squares)
            found += [{name: _or_none(value) for name, value in row.items() if name not in dropped} for row in squares]
    return found


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _json(parts: Sequence[Section]) -> str:
    rows, groups, methods, gaps, notes = _rows(parts), [], [], [], []
    for section in parts:
        shared = {name: section.first[name] for name in ("backbone", "backbone_sha", "protocol", "protocol_digest", "metric")}
        where = {"suite": section.suite, **shared}
        for group, tasks in section.groups.items():
            means = {variant: said["group_means"][group] for variant, said in section.methods.items()}
            groups += [{"group": group, "variant": variant, **where, "mean": mean, "tasks": tasks} for variant, mean in means.items()]
        methods += [{"variant": variant, **where, **said, "of_tasks": len(section.tasks)} for variant, said in section.methods.items()]
        notes += [{**where, "note": note} for note in _notes(section)]
    for row in rows:
        where = {
            name: row[name] for name in ("variant", "task", "suite", "backbone", "backbone_sha", "protocol", "protocol_digest", "metric")
        }
        gaps += [{**where, "seed": seed, "reason": reason} for seed, reason in row.pop("gaps").items()]
    document = {"rows": rows, "groups": groups, "methods": methods, "gaps": gaps, "notes": notes}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
