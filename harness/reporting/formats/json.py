"""The leaderboard for programs: JSON, in full precision, with intervals, ranks, tests and gaps."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness.reporting.frame import SECTION, Row
from harness.reporting.intervals import bootstrap, interval
from harness.reporting.notes import notes_of
from harness.reporting.significance import TooFew, friedman, pairwise
from harness.reporting.stats import Section


def _rows(parts: Sequence[Section]) -> list[dict[str, Any]]:
    """The squares of all sections in the order of the tables, without what is of no use outside;
    gaps too, each with its `reason`."""
    found = []
    for section in parts:
        groups = {task: group for group, tasks in section.groups.items() for task in tasks}
        for variant in section.scores:
            of_variant = next(row for row in section.board if row["variant"] == variant)
            for task in section.tasks:
                row = section.squares.get((variant, task)) or _never_run(
                    of_variant, task, groups[task]
                )
                found.append(
                    {name: _or_none(value) for name, value in row.items() if name not in _DROPPED}
                )
                found[-1] |= _said(row)
    return found


SHARED = ("backbone", "backbone_sha", "side", "normalize", "protocol", "protocol_digest", "metric")
"""What every row says of its section."""
_DROPPED = {"cell", "settings", "note", "data", "position", "scores", "tracebacks"}


def _never_run(like: Row, task: str, group: str) -> Row:
    """A row for a square that the store knows nothing of."""
    kept = {
        *SECTION,
        "method",
        "version",
        "method_source",
        "variant",
        "suite",
        "backbone",
        "protocol",
    }
    empty: Row = {name: None for name in like if name not in kept}
    return {
        **{name: empty.get(name, like[name]) for name in like},
        **{
            "task": task,
            "group": group,
            "n": 0,
            "ids": [],
            "gaps": {},
            "tracebacks": {},
            "warnings": [],
            "scores": {},
        },
        **dict.fromkeys(("trials", "failed_trials", "superseded"), 0),
    }


def _said(row: Row) -> dict[str, Any]:
    """The interval of a square's mean over its seeds, and in a gap the reason."""
    low, high = interval(list(row["scores"].values())) or (None, None)
    reason = None if row["n"] else next(iter(row["gaps"].values()), "not run")
    return {"low": low, "high": high, "reason": reason}


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def json_(
    parts: Sequence[Section],
    baseline: str | None = None,
    published: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Everything that the tables show, and the tests: of each section Friedman's, and Wilcoxon's of
    all pairs or against a baseline."""
    rows, groups, methods, gaps, notes, tests = _rows(parts), [], [], [], [], []
    for section in parts:
        shared = {name: section.first[name] for name in SHARED}
        where = {"suite": section.suite, **shared}
        for group, tasks in section.groups.items():
            means = {
                variant: said["group_means"][group] for variant, said in section.methods.items()
            }
            groups += [
                {"group": group, "variant": variant, **where, "mean": mean, "tasks": tasks}
                for variant, mean in means.items()
            ]
        for variant, said in section.methods.items():
            scores = [
                section.scores[variant][task]
                for task in section.tasks
                if task in section.scores[variant]
            ]
            low, high = (bootstrap(scores) if said["mean"] is not None else None) or (None, None)
            methods.append(
                {
                    "variant": variant,
                    **where,
                    **said,
                    "of_tasks": len(section.tasks),
                    "low": low,
                    "high": high,
                }
            )
        notes += [{**where, "note": note} for note in notes_of(section)]
        tests.append({**where, **_tests(section, baseline)})
    for row in rows:
        where = {name: row[name] for name in ("variant", "task", "suite", *SHARED)}
        gaps += [
            {**where, "seed": seed, "reason": reason} for seed, reason in row.pop("gaps").items()
        ]
    document = {
        "rows": rows,
        "groups": groups,
        "methods": methods,
        "gaps": gaps,
        "tests": tests,
        "notes": notes,
    }
    if published:
        document["published"] = list(published)
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def _tests(section: Section, baseline: str | None) -> dict[str, Any]:
    """What was found, or in one sentence why there is no test."""
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
