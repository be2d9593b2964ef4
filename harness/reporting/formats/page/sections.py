"""A section of the leaderboard for the page: texts made in Python, and the numbers to sort and draw
them by."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from harness.reporting.captions import caption, metric_name, notes_of, title_of
from harness.reporting.columns import (
    MANY_TASKS,
    Column,
    group_column,
    multi_scale_column,
    shown_statistics,
    statistic_column,
    task_column,
)
from harness.reporting.costs import COSTS
from harness.reporting.display import NOTHING, counted, interval_text, rounded, several
from harness.reporting.formats.page.ablations import ablations
from harness.reporting.formats.page.tests import rank_interval, tests
from harness.reporting.formats.page.tradeoff import tradeoff
from harness.reporting.formats.page.values import Once, number, shortened
from harness.reporting.leaderboard import TaskResult
from harness.reporting.section import MethodSummary, Section
from harness.reporting.statistics import MEAN_RANK
from harness.reporting.statistics.common import FEWEST_TASKS
from harness.reporting.statistics.intervals import bootstrap, interval
from harness.tasks.cards import load_cards
from harness.tasks.kinds import metric_of
from harness.text import plain, some


def section(part: Section, baseline: str | None) -> dict[str, Any]:
    """A section without its single runs, which `runs.Runs` has. Variants and tasks are referred to
    by position."""
    notes = Once()
    metric = metric_name(part)
    segmentation = metric_of(part.first.metric).scales
    return {
        "title": plain(title_of(part)),
        "suite": plain(part.suite),
        "backbone": plain(part.backbone),
        "backbone_sha": part.first.backbone_sha,
        "pooling": part.first.pooling,
        "side": part.first.side,
        "normalize": part.first.normalize,
        "protocol": plain(part.protocol),
        "settings": json.loads(part.first.settings),
        "metric": metric,
        "step": "iteration" if segmentation else "epoch",
        "sort": part.sort,
        "devices": [plain(device) for device in part.devices],
        "folded": len(part.tasks) > MANY_TASKS,
        "caption": plain(caption(part, "underlined")),
        "notes": [plain(note) for note in notes_of(part) if note not in _readings(part).values()],
        "missing": list(part.missing),
        "seeds": part.seeds,
        "groups": [_group(part, group) for group in part.groups],
        "tasks": [_task(part, task) for task in part.tasks],
        "statistics": [
            {
                "name": statistic.name,
                "title": statistic.title(part.groups),
                "help": statistic.help,
                "high": not statistic.lowest_is_best,
                "cells": _cells(
                    statistic_column(part, statistic),
                    [of.statistics[statistic.name] for of in part.methods.values()],
                ),
                "intervals": [
                    rank_interval(part, variant) if statistic is MEAN_RANK else None
                    for variant in part.scores
                ],
            }
            for statistic in shown_statistics(part)
        ],
        "variants": _variants(part, notes),
        "readings": notes.values,
        "cells": [[_cell(part, variant, task) for task in part.tasks] for variant in part.scores],
        "scores": [[_seeds(part, variant, task) for task in part.tasks] for variant in part.scores],
        "scales": [
            scales
            for index, task in enumerate(part.tasks)
            if (scales := _several_scales(part, task, index))
        ],
        "tests": tests(part, baseline),
        "families": ablations(part),
        "tradeoff": tradeoff(part),
    }


def _seeds(part: Section, variant: str, task: str) -> dict[int, float]:
    """Scores by seed, from which the page ranks anew."""
    row = part.results.get((variant, task))
    return {seed: round(row.scores[seed], 6) for seed in sorted(row.scores)} if row else {}


def _cells(column: Column, values: Sequence[float | None]) -> list[list[Any]]:
    """By variant: [value, None if it covers only some tasks; text; small print; place]"""
    return [
        [number(value), entry.text, entry.detail, entry.place]
        for value, entry in zip(values, column.entries.values(), strict=True)
    ]


def _group(part: Section, group: str) -> dict[str, Any]:
    values = [summary.group_means[group] for summary in part.methods.values()]
    return {
        "name": plain(group),
        "tasks": [part.tasks.index(task) for task in part.groups[group]],
        "cells": _cells(group_column(part, group), values),
    }


def _task(part: Section, task: str) -> dict[str, Any]:
    cells = [row.cell for row in part.board if row.task == task]
    facts = {
        name: sorted({plain(str(getattr(cell, name))) for cell in cells})
        for name in ("suite", "pixels", "data")
    }
    column = task_column(part, task)
    order = list(part.scores)
    return {
        "name": plain(task),
        "title": plain(column.title),
        "group": plain(cells[0].group),
        **facts,
        **_card(task),
        "places": [entry.place for entry in column.entries.values()],
        "near": sorted(order.index(variant) for variant in part.near[task]),
    }


def _card(task: str) -> dict[str, str]:
    """Where its data are from, as its card says, if it ships."""
    card = load_cards().get(task)
    names = ("source", "licence", "citation")
    return {name: plain(getattr(card, name)) if card else "" for name in names}


def _variants(part: Section, notes: Once) -> list[dict[str, Any]]:
    readings, iterations = _readings(part), json.loads(part.first.settings).get("iterations")
    rows: dict[str, list[TaskResult]] = {variant: [] for variant in part.scores}
    for row in part.board:
        rows[row.variant].append(row)
    trials = {variant: sorted({row.cell.trials for row in of}) for variant, of in rows.items()}
    budgets = Counter(map(str, trials.values())).most_common(2)
    usual = budgets[0][0] if len(budgets) == 1 or budgets[0][1] > budgets[1][1] else None
    described = []
    for variant, summary in part.methods.items():
        of = rows[variant]
        reading = notes.place(plain(readings[variant])) if variant in readings else None
        epochs = {row.cell.epochs for row in of if row.cell.epochs is not None}
        if not metric_of(part.first.metric).scales:
            length = ["Epochs", several(epochs)]
        else:
            length = ["Iterations", NOTHING if iterations is None else str(iterations)]
        described.append(
            {
                "name": plain(variant),
                "method": plain(summary.method),
                "versions": sorted({plain(row.cell.version) for row in of}),
                "reading": reading,
                "family": summary.family,
                "tasks": summary.tasks,
                "runs": sum(row.n for row in of),
                "failed_trials": sum(row.cell.failed_trials for row in of),
                "unequal": str(trials[variant]) != usual,
                "trials": [max(trials[variant]), several(trials[variant])],
                "length": length,
                **_costs(summary, of),
                "summary": _summary(part, variant, summary),
            }
        )
    return described


def _costs(summary: MethodSummary, rows: Sequence[TaskResult]) -> dict[str, list[Any]]:
    """Each as [value, text]."""
    searched = float(sum(row.cell.search_units for row in rows))
    return {
        "year": [summary.year, NOTHING if summary.year is None else str(summary.year)],
        **{
            name: [
                number(value, 1) if name == "params" else shortened(value),
                COSTS[name].text(value),
            ]
            for name, value in summary.costs.items()
        },
        "ppt": [number(summary.ppt), rounded(summary.ppt, 3)],
        "search_units": [shortened(searched), counted(searched)],
    }


def _summary(part: Section, variant: str, summary: MethodSummary) -> list[list[str]]:
    """The first lines of a variant's panel: [name, text]."""
    total = len(part.tasks)
    over_tasks = None
    if summary.mean is not None:
        over_tasks = bootstrap(list(part.scores[variant].values()))
    return [
        [
            f"Mean of {some(total, 'task')}",
            f"none: has scores on {summary.tasks} of {some(total, 'task')}"
            if summary.mean is None
            else rounded(summary.mean, 2),
        ],
        [
            "95 % interval",
            f"{interval_text(*over_tasks, 2)} (bootstrap, tasks as a sample)"
            if over_tasks
            else f"needs at least {FEWEST_TASKS} tasks, and a score on all",
        ],
    ]


def _readings(part: Section) -> dict[str, str]:
    """What a method's author must say about its numbers, by variant."""
    return {row.variant: row.cell.note for row in part.board if row.cell.note}


def _cell(part: Section, variant: str, task: str) -> list[Any] | None:
    """[mean; seeds; its text; small print; facts for the panel: with two digits, spread, interval
    and place; gaps]; gaps are [seed, reason], with the lines of a traceback. None where nothing was
    run."""
    row = part.results.get((variant, task))
    if row is None:
        return None
    traces = {
        seed: [plain(line) for line in text.splitlines()] for seed, text in row.tracebacks.items()
    }
    gaps = [
        [seed, plain(reason), *([traces[seed]] if seed in traces else [])]
        for seed, reason in row.gaps.items()
    ]
    if row.mean is None:
        return [None, row.n, "failed", "", [], gaps]
    facts = [
        rounded(row.mean, 2),
        None if row.std is None else rounded(row.std, 2),
        interval_text(*(interval(list(row.scores.values())) or (None, None)), 2),
        _standing(part, row.mean, task),
    ]
    return [
        number(row.mean),
        row.n,
        rounded(row.mean, 1),
        _small(row.std, row.n, part.seeds),
        facts,
        gaps,
    ]


def _standing(part: Section, mean: float, task: str) -> str:
    """`2 of 9`."""
    scores = [scores[task] for scores in part.scores.values() if task in scores]
    return f"{1 + sum(round(score, 6) > round(mean, 6) for score in scores)} of {len(scores)}"


def _small(std: float | None, n: int, seeds: int) -> str:
    """The small print of a score: its number of seeds if it has fewer than others, else its
    spread."""
    if n < seeds:
        return f"n={n}"
    return "" if std is None else f"±{std:.1f}"


def _several_scales(part: Section, task: str, index: int) -> dict[str, Any] | None:
    """A segmentation task's second column: its mIoU at several scales and mirrored, if that was
    scored. Its cells: [value, text, small print, place]."""
    column = multi_scale_column(part, task)
    if column is None:
        return None
    cells: list[list[Any] | None] = []
    for variant, entry in column.entries.items():
        row = part.results.get((variant, task))
        if row is None or row.mean_ms is None:
            cells.append(None)
        else:
            small = _small(row.std_ms, row.n_ms, part.seeds)
            cells.append([number(row.mean_ms), entry.text, small, entry.place])
    return {"task": index, "title": plain(column.title), "cells": cells}
