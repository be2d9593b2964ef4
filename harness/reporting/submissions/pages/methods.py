"""The page of a method: what it is, its paper and arguments, what it costs, all its rows, and how
to run it."""

import re
from collections.abc import Iterator
from typing import Any

from harness.io import commands
from harness.planning.declaration import own_arguments
from harness.planning.registry import built_in
from harness.reporting.costs import COSTS
from harness.reporting.display import rounded
from harness.reporting.published.numbers import named_here
from harness.reporting.submissions import papers
from harness.reporting.submissions.folder import ROWS
from harness.reporting.submissions.pages.board import Board, Part
from harness.reporting.submissions.pages.boards import command_for
from harness.reporting.submissions.pages.render import Page

SHOWN_COSTS = (
    *("params", "flops", "flops_scored", "seconds_image", "memory", "checkpoint_bytes"),
    "units",
)
"""Columns of the table of costs."""


def pages(board: Board) -> Iterator[Page]:
    for name, slug in board.method_slugs.items():
        parts = [
            part
            for part in board.parts
            if any(row.cell.method == name for row in part.section.board)
        ]
        own = [part for part in parts if part.section.wanted is None]
        yield Page(
            f"methods/{slug}.html",
            "method.html",
            name,
            {
                "name": name,
                "about": _about(name, board),
                "standings": [line for part in parts for line in _standings(part, name, board)],
                "costs": [COSTS[cost].title for cost in SHOWN_COSTS],
                "rows": [line for part in own for line in _rows(part, name, board)],
                "numbers": _numbers(name),
                "runs": [
                    (part.title, part.protocol, commands.command(*command_for(part.section, name)))
                    for part in own
                ],
                "again": _again(own, name, board),
            },
        )


def _about(name: str, board: Board) -> dict[str, Any]:
    """From its class, if the harness or an installed package has it; else from its rows."""
    cells = [cell for cell in board.rows.cells if cell.method == name]
    first, sources = cells[0], sorted({cell.method_source for cell in cells} - {""})
    about: dict[str, Any] = {
        "summary": "",
        "arxiv": None,
        "arguments": [],
        "family": first.family,
        "year": first.year,
        "note": first.note,
        "versions": sorted({cell.version for cell in cells}),
        "sources": sources,
    }
    method = built_in(name)
    if method is None or sources:
        return about
    found = re.search(r"arXiv (\d{4}\.\d{4,5})", method.summary)
    summary = re.sub(r"\s*\((?:our reading of )?arXiv [^)]*\)", "", method.summary)
    searched = method.search_space
    return about | {
        "summary": summary[:1].upper() + summary[1:] if summary[:2].islower() else summary,
        "arxiv": found[1] if found else None,
        "arguments": [
            (key, _as_typed(value.default), _space(searched.get(key)))
            for key, value in own_arguments(method).items()
        ],
    }


def _as_typed(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _space(distribution: Any) -> str:
    """`5, 10, 50`, or `0.1 to 10`."""
    if distribution is None:
        return ""
    if hasattr(distribution, "choices"):
        return ", ".join(map(_as_typed, distribution.choices))
    return f"{distribution.low:g} to {distribution.high:g}"


def _standings(part: Part, name: str, board: Board) -> Iterator[dict[str, Any]]:
    """A line for each of its variants on a board."""
    order = [variant for variant, _ in part.leaders]
    for variant, summary in part.section.methods.items():
        if summary.method == name:
            rows = [row for row in part.section.board if row.variant == variant]
            yield {
                "slug": part.slug,
                "title": part.title,
                "protocol": part.protocol,
                "variant": variant,
                "place": order.index(variant) + 1 if variant in order else None,
                "of": len(order),
                "mean": summary.mean,
                "tasks": summary.tasks,
                "costs": [COSTS[cost].text(summary.costs[cost]) for cost in SHOWN_COSTS],
                "marks": board.mark(rows),
            }


def _rows(part: Part, name: str, board: Board) -> Iterator[dict[str, Any]]:
    """A line for each of its scores on a board."""
    for row in part.section.board:
        if row.cell.method == name and row.mean is not None:
            yield {
                "board": part.slug,
                "title": part.title,
                "protocol": part.protocol,
                "variant": row.variant,
                "task": row.task,
                "task_slug": board.task_slugs[row.task],
                "mean": row.mean,
                "std": rounded(row.std, 1) if row.std is not None else "",
                "seeds": ", ".join(map(str, row.scores)),
                "marks": board.mark([row]),
                "from": board.from_([row]),
                "device": "; ".join(row.devices),
                "day": max(board.runs[id].created for id in row.ids)[:10],
                "ids": row.ids,
            }


def _numbers(name: str) -> list[dict[str, Any]]:
    """What papers print of it, a line for each name, backbone and source."""
    found: dict[tuple[str, str, str], list[tuple[str, float]]] = {}
    for one in papers.numbers():
        if named_here(one.method) == name:
            key = (one.method, f"{one.backbone}, {one.pretrain}", one.source)
            found.setdefault(key, []).append((one.task, one.value))
    names = ("method", "backbone", "source")
    return [{**dict(zip(names, key, strict=True)), "numbers": of} for key, of in found.items()]


def _again(parts: list[Part], name: str, board: Board) -> list[str]:
    """The commands that make one of its rows again and send the record."""
    ids = [
        id
        for part in parts
        for row in part.section.board
        for id in row.ids
        if row.cell.method == name
    ]
    if not ids:
        return []
    id = next((id for id in ids if not board.marks[id].by), ids[0])
    rows = f"results/submissions/{board.senders[id][0]}/{ROWS}"
    return [
        commands.command("results", "import", rows),
        commands.command("reproduce", id, "--record", f"{id}.json"),
        commands.command(
            *("submit", "--to", "results/submissions/YOURS", "--record", f"{id}.json"),
            *("--who", "YOUR NAME", "--contact", "YOUR ADDRESS"),
        ),
    ]
