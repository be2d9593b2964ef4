"""The history of a board, from its submissions' dates: what each has added, and where it has
changed who leads."""

from typing import Any

from harness.reporting.rows import Rows
from harness.reporting.submissions.folder import Submission
from harness.reporting.submissions.pages.board import Board, Part, comparable, parts_of
from harness.reporting.submissions.pages.render import Page


def page(history: list[dict[str, Any]]) -> Page:
    """`history`: the `entries` of a board."""
    return Page("changes.html", "changes.html", "Changes", {"changes": history})


def entries(board: Board) -> list[dict[str, Any]]:
    """The newest first."""
    found, before, seen = [], dict[tuple[str, ...], Part](), set[str]()
    slugs = {_key(part): part.slug for part in board.parts}
    for one in board.submissions:
        new = one.results.keys() - seen
        seen |= new
        runs = tuple(run for run in board.rows.runs if run.id in seen)
        after = {_key(part): part for part in parts_of(Rows(runs, ()))} if new else before
        found.append(
            {
                "day": one.about.when[:10],
                "name": one.name,
                "who": one.about.who,
                "results": len(new),
                "again": len(one.results) - len(new),
                "methods": len({run.cell.method for run in runs if run.id in new}),
                "tasks": len({run.cell.task for run in runs if run.id in new}),
                "records": _counted(one, board),
                "news": [
                    {"slug": slugs.get(key), "title": part.title, "protocol": part.protocol, **said}
                    for key, part in after.items()
                    if (said := _news(part, before.get(key))) is not None
                ],
            }
        )
        before = after
    return found[::-1]


def _key(part: Part) -> tuple[str, ...]:
    return (part.section.suite, *comparable(part.section))


def _counted(one: Submission, board: Board) -> int:
    """Its records that count."""
    return sum(one.name in board.marks[r.id].by for r in one.records if r.id in board.marks)


def _news(after: Part, before: Part | None) -> dict[str, Any] | None:
    """That a board is new, or has another leader."""
    leader = after.leaders[0] if after.leaders else None
    if before is None:
        return {"new": True, "leader": leader}
    if leader is None or (before.leaders and before.leaders[0][0] == leader[0]):
        return None
    return {"new": False, "leader": leader}
