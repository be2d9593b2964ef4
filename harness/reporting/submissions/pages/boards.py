"""The front page, with all boards, and the page of each: methods by tasks."""

from collections.abc import Iterator, Sequence
from typing import Any

from harness.reporting.costs import COSTS
from harness.reporting.display import places_of, rounded
from harness.reporting.leaderboard import TaskResult
from harness.reporting.published.numbers import (
    PublishedRow,
    differences,
    matching_rows,
    means,
    named_here,
)
from harness.reporting.rows import Rows
from harness.reporting.section import Section
from harness.reporting.submissions import papers
from harness.reporting.submissions.pages.board import Board, Part
from harness.reporting.submissions.pages.render import Page
from harness.reporting.tidy import tidy
from harness.tasks.cards import load_cards, load_suites
from harness.tasks.kinds import metric_of

NEWEST = 5
"""Changes on the front page."""


def index(board: Board, history: Sequence[dict[str, Any]]) -> Page:
    """`history`: what has changed, the newest first."""
    found = [
        {
            "slug": part.slug,
            "title": part.title,
            "protocol": part.protocol,
            "leaders": part.leaders[:3],
            "methods": len(part.section.scores),
            "tasks": len(part.section.tasks),
            "results": len(part.ids),
            "marks": board.mark(part.section.board),
            "metric": metric_of(part.section.first.metric).title,
        }
        for part in board.parts
    ]
    return Page(
        "index.html",
        "index.html",
        "The board",
        {
            "boards": found,
            "changes": history[:NEWEST],
            "methods": sorted(board.method_slugs.items()),
            "tasks": sorted(board.task_slugs.items()),
            "results": len(board.rows.runs),
            "senders": len({one.about.contact.casefold() for one in board.submissions}),
            "submissions": len(board.submissions),
        },
    )


def pages(board: Board) -> Iterator[Page]:
    for part in board.parts:
        yield Page(
            f"boards/{part.slug}.html", "board.html", part.title, {"part": _part(part, board)}
        )


def tables(board: Board) -> dict[str, str]:
    """A CSV for each board: the columns of `harness report --format csv`, where each row is from,
    and its mark."""
    found = {}
    for part in board.parts:
        ids = set(part.ids)
        frame = tidy(Rows(tuple(run for run in board.rows.runs if run.id in ids), ()))
        frame["submission"] = [board.senders[id][0] for id in frame["id"]]
        frame["mark"] = [board.marks[id].name for id in frame["id"]]
        found[f"boards/{part.slug}.csv"] = frame.to_csv(index=False)
    return found


def _part(part: Part, board: Board) -> dict[str, Any]:
    section, cards = part.section, load_cards()
    best = {
        task: places_of({name: of.get(task) for name, of in section.scores.items()}, 1)
        for task in section.tasks
    }
    rows = []
    for place, (variant, summary) in enumerate(section.methods.items(), start=1):
        results = [section.results.get((variant, task)) for task in section.tasks]
        known = [row for row in results if row is not None]
        rows.append(
            {
                "place": place if summary.mean is not None else None,
                "variant": variant,
                "method": board.method_slugs[summary.method],
                "mean": summary.mean,
                "tasks": summary.tasks,
                "groups": summary.mean_of_groups,
                "rank": summary.mean_rank,
                "params": COSTS["params"].text(summary.params),
                "params_value": summary.params or 0,
                "cells": [
                    _cell(row, best[task].get(variant), board)
                    for task, row in zip(section.tasks, results, strict=True)
                ],
                "marks": board.mark(known),
                "from": board.from_(known),
            }
        )
    return {
        "slug": part.slug,
        "title": part.title,
        "protocol": part.protocol,
        "about": _about(section),
        "metric": metric_of(section.first.metric).title,
        "groups": len(section.groups) > 1,
        "tasks": [
            (task, board.task_slugs[task], cards[task].title if task in cards else task)
            for task in section.tasks
        ],
        "rows": rows,
        "published": _published(section, board),
        "seeds": section.seeds,
        "results": len(part.ids),
        "notes": sorted({row.cell.note for row in section.board if row.cell.note}),
    }


def _about(section: Section) -> str:
    """What its suite is, and how much of that is here."""
    suite = load_suites().get(section.suite)
    if suite is None:
        return ""
    lacking = len(set(suite.tasks) - set(section.tasks))
    some_of = f" ({len(suite.tasks) - lacking} of them here)" if lacking else ""
    return f"{suite.title}{some_of}"


def _cell(row: TaskResult | None, place: int | None, board: Board) -> dict[str, Any] | None:
    if row is None or row.mean is None:
        return None
    return {
        "mean": row.mean,
        "std": rounded(row.std, 1) if row.std is not None else "",
        "n": row.n,
        "place": place,
        "marks": board.mark([row]),
    }


def _published(section: Section, board: Board) -> list[dict[str, Any]]:
    """Papers' numbers on the same backbone, with the best mean first."""
    named = papers.named(section.first.backbone, section.first.metric)
    if named is None:
        return []
    rows = [
        row
        for row in matching_rows(section, papers.numbers()).rows
        if (row.backbone, row.pretrain) == named
    ]
    found = [_published_row(section, row, board) for row in rows]
    return sorted(found, key=lambda row: (-(row["mean"] or 0.0), row["method"]))


def _published_row(section: Section, row: PublishedRow, board: Board) -> dict[str, Any]:
    everything = set(section.tasks)
    printed = [
        value
        for name, value in row.means.items()
        if set(means()[name]) == everything and not name.endswith("_groups")
    ]
    return {
        "method": row.method,
        "slug": board.method_slugs.get(named_here(row.method)),
        "mean": printed[0] if printed else None,
        "numbers": [row.numbers.get(task) for task in section.tasks],
        "source": row.source,
        "apart": differences(section, row),
    }


def command_for(section: Section, variant: str, tasks: Sequence[str] | None = None) -> list[str]:
    """The words of `harness run` for a variant on a board, or on some of its tasks."""
    suites = load_suites()
    suite = suites.get(section.suite)
    words = ["run", "--methods", variant]
    if tasks is None and suite is not None and set(suite.tasks) == set(section.tasks):
        words += ["--suite", suite.name]
    else:
        words += ["--tasks", ",".join(tasks or section.tasks)]
    if suite is None or suite.backbone != section.first.backbone:
        words += ["--backbone", section.first.backbone]
    if suite is None or suite.protocol != section.first.protocol:
        words += ["--protocol", section.first.protocol]
    return words
