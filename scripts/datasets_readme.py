"""Writes the tables of datasets/README.md from the cards: python scripts/datasets_readme.py. A test
holds the page to it."""

from collections.abc import Sequence
from pathlib import Path

from harness.data.status import readable
from harness.io.resources import datasets_dir
from harness.tasks.cards import TaskCard, load_cards, load_suites

BEGIN, END = (
    "<!-- tables of the cards: scripts/datasets_readme.py writes them -->",
    "<!-- end of the tables -->",
)
SUITES = ("vtab", "fgvc", "ade20k")


def tables() -> str:
    """Both tables as Markdown, tasks in the order of their suites."""
    cards, suites = load_cards(), load_suites()
    shown = [cards[task] for suite in SUITES for task in suites[suite].tasks]
    return "\n\n".join(
        (
            _table(_sizes(shown)),
            "Which records they are, and what their labels mean:",
            _table(_splits(shown)),
        )
    )


def written(page: str) -> str:
    """The page with its tables made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def _sizes(cards: Sequence[TaskCard]) -> list[list[str]]:
    grid = [["task", "suite", "group", "classes", "train", "val", "test", "read from", "to get it"]]
    for card in cards:
        counts = [
            f"{card.sizes[split]:,}" if split in card.sizes else ""
            for split in ("train", "val", "test")
        ]
        forms = ", ".join(
            dict.fromkeys(f"`{reader.format}`" for reader in (*card.sources, card.reader))
        )
        grid.append(
            [card.name, card.suite, card.group, str(card.classes), *counts, forms, _getting(card)]
        )
    return grid


def _splits(cards: Sequence[TaskCard]) -> list[list[str]]:
    grid = [["task", "train", "val", "test", "labels and keys"]]
    for card in cards:
        slices = [
            f"`{card.slices[split]}`" if split in card.slices else ""
            for split in ("train", "val", "test")
        ]
        grid.append([card.name, *slices, card.label_rule])
    return grid


def _getting(card: TaskCard) -> str:
    """`harness data fetch` with the size of what it gets, and what a person must do."""
    known = [archive.bytes for archive in card.archives if archive.bytes]
    size = (
        f" ({readable(sum(known))}{'' if len(known) == len(card.archives) else ' and more'})"
        if known
        else ""
    )
    fetched = [f"`fetch`{size}"] if card.archives else []
    return (
        "; ".join([*fetched, *([f"by hand: {card.by_hand.rstrip('.')}"] if card.by_hand else [])])
        or card.howto
    )


def _table(grid: Sequence[Sequence[str]]) -> str:
    cells = [
        [text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*") for text in row]
        for row in grid
    ]
    lines = [cells[0], ["---"] * len(cells[0]), *cells[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    page: Path = datasets_dir() / "README.md"
    page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
