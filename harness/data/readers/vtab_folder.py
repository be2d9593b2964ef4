"""The VTAB-1k folder that NOAH made and others took over: `<root>/<folder>/{train800,val200,train800val200,test}.txt`.

Each line is a path relative to the task's folder, a space, and a 0-based label: `images/train800/000000.jpg 307`. Copies that `harness data
export` wrote have `keys/{train800,val200,test}.txt` too.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from harness.cards import SplitName, TaskCard
from harness.data.images import rgb
from harness.data.readers.files import lines_of, stamp
from harness.data.readers.record import Record
from harness.errors import BadInput

ARGUMENTS = ("folder",)
LISTS = {"train": "train800", "val": "val200", "test": "test"}
UNION = "train800val200"
LINE = re.compile(r"(?P<path>.*\S)\s+(?P<label>-?\d{1,9})", re.ASCII)


def present(card: TaskCard, root: Path | None) -> bool:
    """Whether the task's folder has any of the lists."""
    folder = root / card.reader.argument("folder", card.name, str) if root is not None else None
    return folder is not None and any((folder / f"{name}.txt").is_file() for name in LISTS.values())


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    """The lines of the split's list. Every image must be there."""
    folder = _folder(card, root)
    lines = _lines(card, folder, LISTS[split])
    present = _Present()
    for path, _ in lines:
        if not present(folder / path):
            raise BadInput(f"task {card.name}: {folder / path} is missing ({LISTS[split]}.txt names it).{_howto(card)}")
    return [
        Record(key, label, (folder / path).read_bytes, partial(rgb, folder / path), partial(stamp, folder / path))
        for key, (path, label) in zip(_keys(card, folder, lines, LISTS[split]), lines, strict=True)
    ]


def check(card: TaskCard, root: Path | None) -> None:
    """train800val200, where there is one, holds the labels of train800 and val200. As multisets: copies number their files differently."""
    folder = _folder(card, root)
    if not (folder / f"{UNION}.txt").is_file():
        return
    parts = Counter(label for name in ("train800", "val200") for _, label in _lines(card, folder, name))
    union = Counter(label for _, label in _lines(card, folder, UNION))
    if parts != union:
        label = min((parts - union) | (union - parts))
        raise BadInput(
            f"task {card.name}: {folder / UNION}.txt has label {label} {union[label]} times, train800.txt and val200.txt "
            f"together {parts[label]} times. Get a whole copy."
        )


def _keys(card: TaskCard, folder: Path, lines: list[tuple[str, int]], name: str) -> list[str]:
    """The paths; or what `harness data export` left beside them, the records' keys in their source."""
    listed = folder / "keys" / f"{name}.txt"
    if not listed.is_file():
        return [path for path, _ in lines]
    keys = lines_of(card, listed)
    if len(keys) != len(lines):
        raise BadInput(f"task {card.name}: {listed} has {len(keys)} lines, {name}.txt has {len(lines)}. Get a whole copy, or delete keys/.")
    return keys


def _folder(card: TaskCard, root: Path | None) -> Path:
    name = card.reader.argument("folder", card.name, str)
    if root is None:
        raise BadInput(f"task {card.name}: give --data-root, the folder that holds {name}/.{_howto(card)}")
    if not (root / name).is_dir():
        raise BadInput(f"task {card.name}: no folder {root / name}.{_howto(card)}")
    return root / name


def _howto(card: TaskCard) -> str:
    return f" To get it: {card.howto.rstrip('.')}." if card.howto else ""


def _lines(card: TaskCard, folder: Path, name: str) -> list[tuple[str, int]]:
    file = folder / f"{name}.txt"
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"task {card.name}: can't read {file} ({error.strerror}).{_howto(card)}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"task {card.name}: {file} is not text. Get this file again.") from error
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        match = LINE.fullmatch(line.strip())
        if match is None:
            raise BadInput(f"task {card.name}: {file} line {number} is {line[:60]!r}, expected 'images/train800/000000.jpg 307'.")
        path, label = match["path"], int(match["label"])
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise BadInput(f"task {card.name}: {file} line {number} leaves the task's folder: {path[:60]!r}.")
        found.append((path, label))
    return found


class _Present:
    """Whether a file exists, from one listing a folder instead of a look at each file."""

    def __init__(self) -> None:
        self.listed: dict[Path, set[str]] = {}

    def __call__(self, path: Path) -> bool:
        if path.parent not in self.listed:
            self.listed[path.parent] = set(os.listdir(path.parent)) if path.parent.is_dir() else set()
        return path.name in self.listed[path.parent]
