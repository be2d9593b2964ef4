"""The leaderboard for programs: JSON, in full precision, with intervals, ranks, tests and gaps."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from harness.reporting.captions import notes_of
from harness.reporting.contents import Contents
from harness.reporting.formats.format import TextFormat
from harness.reporting.leaderboard import COMPARABLE, TaskResult
from harness.reporting.published.numbers import PublishedNumber
from harness.reporting.rows import CellSummary
from harness.reporting.section import SHARED, MethodSummary, Section
from harness.reporting.statistics.common import TooFew, complete
from harness.reporting.statistics.friedman import friedman
from harness.reporting.statistics.intervals import bootstrap, interval
from harness.reporting.statistics.wilcoxon import pairwise


class _Json(TextFormat):
    suffixes = (".json",)

    def render(self, contents: Contents, live: str = "") -> str:
        return document(
            contents.sections,
            contents.checked_layout.baseline,
            contents.published_numbers or (),
        )


JSON = _Json()


def document(
    parts: Sequence[Section],
    baseline: str | None = None,
    published: Sequence[PublishedNumber] = (),
    most: int | None = None,
) -> str:
    """Everything that the tables show, and the tests: for each section Friedman's, and Wilcoxon's
    for all pairs or against a baseline. `most`: up to so many variants all pairs are tested; of
    more each against the first, unless there is a baseline."""
    tables: dict[str, list[Any]] = {
        name: [] for name in ("rows", "groups", "methods", "gaps", "tests", "notes")
    }
    for section in parts:
        where = {"suite": section.suite} | _shared(section.first)
        tables["rows"] += _rows(section)
        tables["groups"] += _groups(section, where)
        tables["methods"] += [
            _method(section, variant, summary, where)
            for variant, summary in section.methods.items()
        ]
        tables["gaps"] += _gaps(section)
        tables["tests"].append({**where, **_tests(section, baseline or _first(section, most))})
        tables["notes"] += [{**where, "note": note} for note in notes_of(section)]
    if published:
        tables["published"] = [asdict(number) for number in published]
    return json.dumps(tables, indent=2, ensure_ascii=False, allow_nan=False)


def _first(section: Section, most: int | None) -> str | None:
    kept, _ = complete(section.scores, section.tasks)
    return next(iter(kept)) if most is not None and len(kept) > most else None


def _shared(cell: CellSummary) -> dict[str, Any]:
    return {name: getattr(cell, name) for name in SHARED}


_OF_CELL = [
    field.name
    for field in fields(CellSummary)
    if field.name not in ("key", "settings", "note", "data", "position")
]
_MEASURED = [
    field.name
    for field in fields(TaskResult)
    if field.name not in ("cell", "scores", "gaps", "tracebacks")
]
_OF_VARIANT = {"method", "version", "method_source", "variant", "suite", "backbone", "protocol"}
"""What a row that was never run shares with others of its variant, besides what makes scores
comparable."""


def _rows(section: Section) -> list[dict[str, Any]]:
    """The results in the order of the table, without what is useless elsewhere; gaps too, each with
    its `reason`."""
    groups = {task: group for group, tasks in section.groups.items() for task in tasks}
    rows = []
    for variant in section.scores:
        like = next(row.cell for row in section.board if row.variant == variant)
        for task in section.tasks:
            result = section.results.get((variant, task))
            rows.append(_never_run(like, task, groups[task]) if result is None else _row(result))
    return rows


def _row(result: TaskResult) -> dict[str, Any]:
    low, high = interval(list(result.scores.values())) or (None, None)
    reason = None if result.n else next(iter(result.gaps.values()), "not run")
    return {
        **{name: _or_none(getattr(result.cell, name)) for name in _OF_CELL},
        **{name: _or_none(getattr(result, name)) for name in _MEASURED},
        **{"low": low, "high": high, "reason": reason},
    }


def _never_run(like: CellSummary, task: str, group: str) -> dict[str, Any]:
    """A row where the store has nothing."""
    kept = {*COMPARABLE, *_OF_VARIANT}
    return {
        **{name: getattr(like, name) if name in kept else None for name in _OF_CELL},
        **dict.fromkeys(_MEASURED),
        **{"task": task, "group": group, "n": 0, "ids": [], "warnings": [], "devices": []},
        **dict.fromkeys(("trials", "failed_trials", "superseded"), 0),
        **{"low": None, "high": None, "reason": "not run"},
    }


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _groups(section: Section, where: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"group": group, "variant": variant, **where}
        | {"mean": summary.group_means[group], "tasks": tasks}
        for group, tasks in section.groups.items()
        for variant, summary in section.methods.items()
    ]


def _method(
    section: Section, variant: str, summary: MethodSummary, where: dict[str, Any]
) -> dict[str, Any]:
    scores = [
        section.scores[variant][task] for task in section.tasks if task in section.scores[variant]
    ]
    low, high = (bootstrap(scores) if summary.mean is not None else None) or (None, None)
    return {
        "variant": variant,
        **where,
        "method": summary.method,
        "mean": summary.mean,
        "group_means": summary.group_means,
        "mean_of_groups": summary.mean_of_groups,
        "mean_of_present": summary.mean_of_present,
        **summary.statistics,
        **summary.costs,
        "ppt": summary.ppt,
        "tasks": summary.tasks,
        "trials": summary.trials,
        "epochs": summary.epochs,
        "family": summary.family,
        "year": summary.year,
        "of_tasks": len(section.tasks),
        "low": low,
        "high": high,
    }


def _gaps(section: Section) -> list[dict[str, Any]]:
    """One row per failed seed."""
    results = (
        section.results.get((variant, task)) for variant in section.scores for task in section.tasks
    )
    return [
        {"variant": result.variant, "task": result.task, "suite": result.cell.suite}
        | _shared(result.cell)
        | {"seed": seed, "reason": reason}
        for result in results
        if result is not None
        for seed, reason in result.gaps.items()
    ]


def _tests(section: Section, baseline: str | None) -> dict[str, Any]:
    """The tests' results, or in one sentence why there is no test."""
    together, pairs = (
        friedman(section.scores, section.tasks),
        pairwise(section.scores, section.tasks, baseline),
    )
    of_all: dict[str, Any]
    if isinstance(together, TooFew):
        of_all = {"reason": str(together)}
    else:
        of_all = {
            name: value if value != math.inf else None for name, value in asdict(together).items()
        }
    of_pairs = (
        {"reason": str(pairs)} if isinstance(pairs, TooFew) else [asdict(pair) for pair in pairs]
    )
    return {"friedman": of_all, "wilcoxon_holm": of_pairs}
