"""What of a suite's data is there, for `harness data status`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.markup import escape
from rich.table import Table

from harness.cards import SPLITS, TaskCard
from harness.data.readers import check, is_present, resolve
from harness.errors import BadInput


@dataclass(frozen=True)
class Status:
    """One task's data under a root."""

    task: str
    state: Literal["found", "partial", "missing"]
    """`partial`: files are there, but short or wrong."""
    format: str
    counts: str
    """Records of train, val and test, as the card has them; empty unless found."""
    bytes: int
    """Of the task's folder."""
    todo: str
    """What is wrong, or how to get it."""


def status(card: TaskCard, root: Path | None) -> Status:
    found = resolve(card, root)
    there = is_present(found, found.reader, root)
    size = _size(found, root)
    try:
        check(found, root)
    except BadInput as error:
        text = str(error).removeprefix(f"task {card.name}: ")
        return Status(card.name, "partial" if there else "missing", found.reader.format if there else "", "", size, text)
    counts = " ".join(f"{card.sizes[split]:,}" for split in SPLITS if split in card.sizes)
    return Status(card.name, "found", found.reader.format, counts, size, "")


def table(found: Sequence[Status]) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("task", "data", "format", "train val test", "space", "what to do"):
        shown.add_column(name, justify="right" if name in ("train val test", "space") else "left", no_wrap=name == "task")
    colours = {"found": "green", "partial": "yellow", "missing": "red"}
    for row in found:
        state = f"[{colours[row.state]}]{row.state}[/]"
        shown.add_row(row.task, state, row.format, row.counts, _readable(row.bytes), escape(row.todo))
    return shown


def _size(card: TaskCard, root: Path | None) -> int:
    if root is None:
        return 0
    folder = card.reader.arguments.get("folder")
    places = {root / name for name in (card.name, folder if isinstance(folder, str) else None, f"{card.name}.prepared") if name}
    return sum(path.stat().st_size for place in places if place.is_dir() for path in place.rglob("*") if path.is_file())


def _readable(size: int) -> str:
    if not size:
        return ""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size = round(size / 1000)
    return f"{size} {unit}"
