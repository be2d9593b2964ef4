"""The leaderboard for programs: CSV and JSON, in full precision."""

import json
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.report.notes import notes_of
from harness.report.stats import Section


def csv(parts: Sequence[Section]) -> str:
    """One line a square, in full precision; a gap has n = 0 and says why."""
    board = pd.DataFrame(_rows(parts))
    board["ids"] = board["ids"].map(" ".join)
    board["gaps"] = board["gaps"].map(lambda gaps: "; ".join(f"seed {seed}: {reason}" for seed, reason in gaps.items()))
    return board.to_csv(index=False)


def _rows(parts: Sequence[Section]) -> list[dict[str, Any]]:
    """The squares of all sections in the order of the tables, without what is of no use outside."""
    dropped = {"cell", "settings", "note", "data", "position", "scores"}
    found = []
    for section in parts:
        for variant in section.scores:
            squares = (section.squares[variant, task] for task in section.tasks if (variant, task) in section.squares)
            found += [{name: _or_none(value) for name, value in row.items() if name not in dropped} for row in squares]
    return found


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def json_(parts: Sequence[Section]) -> str:
    rows, groups, methods, gaps, notes = _rows(parts), [], [], [], []
    for section in parts:
        shared = {name: section.first[name] for name in ("backbone", "backbone_sha", "protocol", "protocol_digest", "metric")}
        where = {"suite": section.suite, **shared}
        for group, tasks in section.groups.items():
            means = {variant: said["group_means"][group] for variant, said in section.methods.items()}
            groups += [{"group": group, "variant": variant, **where, "mean": mean, "tasks": tasks} for variant, mean in means.items()]
        methods += [{"variant": variant, **where, **said, "of_tasks": len(section.tasks)} for variant, said in section.methods.items()]
        notes += [{**where, "note": note} for note in notes_of(section)]
    for row in rows:
        where = {
            name: row[name] for name in ("variant", "task", "suite", "backbone", "backbone_sha", "protocol", "protocol_digest", "metric")
        }
        gaps += [{**where, "seed": seed, "reason": reason} for seed, reason in row.pop("gaps").items()]
    document = {"rows": rows, "groups": groups, "methods": methods, "gaps": gaps, "notes": notes}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
