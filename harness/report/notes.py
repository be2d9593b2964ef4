"""What every format says beside a table: its title, what its numbers are, and what isn't equal for all."""

import re
from collections.abc import Sequence

from harness.report.stats import Section, common_tasks

METRICS = {"top1": "Top-1 accuracy", "miou": "mIoU"}


def caption(section: Section, second: str, spread: bool = True) -> str:
    metric = METRICS.get(section.first["metric"], section.first["metric"])
    over = f"mean{' ± standard deviation' if spread else ''} over {section.seeds} seeds" if section.seeds > 1 else "one seed, so no spread"
    marks = f" Bold: best, {second}: second." if len(section.scores) > 1 else ""
    return f"{metric} in %, {over}.{marks} Params: trained values without the head."


def notes_of(section: Section) -> list[str]:
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


def title_of(section: Section) -> str:
    return f"{section.suite} · {section.backbone} · protocol {section.protocol}"


def plain(text: str) -> str:
    """Without control characters: names and reasons come from outside."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+", " ", text)
