"""Which of a suite's data are present, for `harness data status`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from harness.data.readers import check, is_present, resolve
from harness.errors import BadInput
from harness.io import commands
from harness.tasks.cards import SPLITS, TaskCard


@dataclass(frozen=True)
class DataStatus:
    """One task's data under a root."""

    card: TaskCard
    state: Literal["found", "partial", "missing"]
    """`partial`: files are there, but incomplete or wrong."""
    format: str
    counts: str
    """Records of train, val and test, as the card has them; empty unless found."""
    bytes: int
    """Of the task's folder."""
    problem: str
    """What is wrong; empty if nothing is."""

    @property
    def todo(self) -> str:
        """In a word or two."""
        if self.state != "missing":
            return "fix, see below" if self.problem else ""
        return " + ".join(
            ["fetch"] * bool(self.card.archives)
            + ["by hand"] * bool(self.card.by_hand or not self.card.archives)
        )

    def json(self) -> dict[str, Any]:
        """For programs: what is there, and what can be fetched from where."""
        return {
            "task": self.card.name,
            "suite": self.card.suite,
            "state": self.state,
            "format": self.format or None,
            "bytes": self.bytes,
            "problem": self.problem or None,
            "archives": [
                {"url": one.url, "bytes": one.bytes, "name": one.name} for one in self.card.archives
            ],
            "by_hand": self.card.by_hand or None,
        }


VTAB_1K = (
    "NOAH's vtab-1k.zip, which https://github.com/ZhangYuanhan-AI/NOAH links to, extracted there;"
    " or a folder that TensorFlow Datasets made."
)


def status(card: TaskCard, root: Path | None) -> DataStatus:
    resolved = resolve(card, root)
    present = root is not None and is_present(resolved, resolved.reader, root)
    size = _size(resolved, root)
    try:
        check(resolved, root)
    except BadInput as error:
        text = str(error).removeprefix(f"task {card.name}: ")
        return DataStatus(
            card,
            "partial" if present else "missing",
            resolved.reader.format if present else "",
            "",
            size,
            text,
        )
    counts = " ".join(f"{card.sizes[split]:,}" for split in SPLITS if split in card.sizes)
    return DataStatus(card, "found", resolved.reader.format, counts, size, "")


def show(statuses: Sequence[DataStatus], root: Path | None, console: Console) -> None:
    """One line per task, and below what to do, once. Nothing is truncated or wrapped, whatever the
    width: programs read it too."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("task", "data", "format", "train val test", "space", "to do"):
        table.add_column(
            name, justify="right" if name in ("train val test", "space") else "left", no_wrap=True
        )
    colours = {"found": "green", "partial": "yellow", "missing": "red"}
    for row in statuses:
        state = f"[{colours[row.state]}]{row.state}[/]"
        table.add_row(row.card.name, state, row.format, row.counts, readable(row.bytes), row.todo)
    wide = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    console.width = max(wide, console.width)
    console.print(table)
    for line in advice(statuses, root):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def advice(statuses: Sequence[DataStatus], root: Path | None) -> Iterator[str]:
    """What to do, once for all of them: one command for what can be fetched, and for the rest where
    its owner gives it."""
    for row in statuses:
        if row.state == "partial":
            yield f"{row.card.name}: {row.problem}"
    where = root or "data"
    if get := [row.card for row in statuses if "fetch" in row.todo]:
        sizes = {archive.url: archive.bytes or 0 for card in get for archive in card.archives}
        fetch = commands.command(
            "data",
            "fetch",
            *(card.name for card in get),
            "--data-root",
            where,
            *commands.cards(get),
        )
        yield f"fetch: {fetch}  (over {readable(sum(sizes.values()))})"
    for card in (row.card for row in statuses if "by hand" in row.todo):
        how = card.by_hand or card.howto or "its card names no source"
        yield f"by hand: {card.name}: {how}"
    if any(row.card.suite == "vtab" and row.state == "missing" for row in statuses):
        yield f"Or all of VTAB-1k at once: {VTAB_1K}" + (
            "" if root else " Give --data-root, the folder that holds the data."
        )


def _size(card: TaskCard, root: Path | None) -> int:
    if root is None:
        return 0
    folder = card.reader.arguments.get("folder")
    places = {
        root / name
        for name in (
            card.name,
            folder if isinstance(folder, str) else None,
            f"{card.name}.prepared",
        )
        if name
    }
    return sum(
        path.stat().st_size
        for place in places
        if place.is_dir()
        for path in place.rglob("*")
        if path.is_file()
    )


def readable(size: int) -> str:
    if not size:
        return ""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size = round(size / 1000)
    return f"{size} {unit}"
