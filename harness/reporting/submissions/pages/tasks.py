"""The page of a task: what it is, and who is how good at it."""

from collections.abc import Iterator
from typing import Any

from harness.reporting.display import rounded
from harness.reporting.submissions.pages.board import Board, Part
from harness.reporting.submissions.pages.render import Page
from harness.tasks.cards import load_cards
from harness.tasks.kinds import metric_of


def pages(board: Board) -> Iterator[Page]:
    cards = load_cards()
    for name, slug in board.task_slugs.items():
        card = cards.get(name)
        facts = {} if card is None else _facts(card)
        tables = [
            _table(part, name, board)
            for part in board.parts
            if name in part.section.tasks and part.section.wanted is None
        ]
        yield Page(
            f"tasks/{slug}.html",
            "task.html",
            name,
            {
                "name": name,
                "heading": card.title if card else "a task that the harness doesn't ship",
                "facts": facts,
                "archives": [archive.url for archive in card.archives] if card else [],
                "tables": tables,
            },
        )


def _facts(card: Any) -> dict[str, str]:
    sizes = ", ".join(f"{size:,} {split}" for split, size in card.sizes.items())
    found = {
        "Suite": f"{card.suite}, group {card.group}",
        "Kind": f"{card.kind}, {card.classes:,} classes",
        "Images": sizes,
        "Metric": metric_of(card.metric).title,
        "Source": card.source,
        "Licence": card.licence,
        "Cite": card.citation,
        "By hand": card.by_hand,
    }
    return {name: text for name, text in found.items() if text}


def _table(part: Part, task: str, board: Board) -> dict[str, Any]:
    section = part.section
    found = [row for row in section.board if row.task == task and row.mean is not None]
    found.sort(key=lambda row: (-(row.mean or 0.0), row.variant))
    return {
        "slug": part.slug,
        "title": part.title,
        "protocol": part.protocol,
        "rows": [
            {
                "variant": row.variant,
                "method": board.method_slugs[row.cell.method],
                "mean": row.mean,
                "std": rounded(row.std, 1) if row.std is not None else "",
                "n": row.n,
                "marks": board.mark([row]),
                "from": board.from_([row]),
            }
            for row in found
        ],
    }
