"""The VTAB-1k folder that NOAH made and others took over:
`<root>/<folder>/{train800,val200,train800val200,test}.txt`.

Each line is a path relative to the task's folder, a space, and a 0-based label:
`images/train800/000000.jpg 307`. Copies that `harness data export` wrote have
`keys/{train800,val200,test}.txt` too.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from harness.data.images import rgb
from harness.data.readers.files import Present, absent, stamp
from harness.data.readers.lists import name_of, names_of, numbered
from harness.data.readers.record import Record
from harness.errors import BadInput
from harness.tasks.cards import SplitName, TaskCard

ARGUMENTS = ("folder",)
LISTS = {"train": "train800", "val": "val200", "test": "test"}
UNION = "train800val200"
LINE = re.compile(r'("(?P<quoted>[^"]+)"|(?P<path>.*\S))\s+(?P<label>-?\d{1,9})', re.ASCII)


def present(card: TaskCard, root: Path | None) -> bool:
    """Whether the task's folder has any of the lists."""
    folder = root / card.reader.argument("folder", card.name, str) if root is not None else None
    return folder is not None and any((folder / f"{name}.txt").is_file() for name in LISTS.values())


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    """The lines of the split's list. Every image must be there."""
    folder = _folder(card, root)
    lines = _lines(card, folder, LISTS[split])
    if len(lines) != card.sizes.get(split, 0):
        raise BadInput(
            f"task {card.name}: {split} has {len(lines)} records, expected"
            f" {card.sizes.get(split, 0)} ({folder / LISTS[split]}.txt). Get a whole copy."
        )
    found, present = [], Present()
    for key, (name, label) in zip(_keys(card, folder, lines, LISTS[split]), lines, strict=True):
        path = present(folder / name)
        if path is None:
            raise absent(card, folder / name, name, f"{LISTS[split]}.txt")
        found.append(
            Record(
                key,
                label,
                path.read_bytes,
                partial(rgb, path),
                partial(stamp, path),
                file=str(path),
            )
        )
    return found


def check(card: TaskCard, root: Path | None) -> None:
    """train800val200, where there is one, holds the labels of train800 and val200. As multisets:
    copies number their files differently."""
    folder = _folder(card, root)
    if not (folder / f"{UNION}.txt").is_file():
        return
    parts = Counter(
        label for name in ("train800", "val200") for _, label in _lines(card, folder, name)
    )
    union = Counter(label for _, label in _lines(card, folder, UNION))
    if parts != union:
        label = min((parts - union) | (union - parts))
        raise BadInput(
            f"task {card.name}: {folder / UNION}.txt has label {label} {union[label]} times,"
            f" train800.txt and val200.txt together {parts[label]} times. Get a whole copy."
        )


def _keys(card: TaskCard, folder: Path, lines: list[tuple[str, int]], name: str) -> list[str]:
    """The paths; or what `harness data export` left beside them, the records' keys in their
    source."""
    listed = folder / "keys" / f"{name}.txt"
    if not listed.is_file():
        return [path for path, _ in lines]
    keys = names_of(card, listed)
    if len(keys) != len(lines):
        raise BadInput(
            f"task {card.name}: {listed} has {len(keys)} lines, {name}.txt has {len(lines)}. Get a"
            " whole copy, or delete keys/."
        )
    return keys


def _folder(card: TaskCard, root: Path | None) -> Path:
    name = card.reader.argument("folder", card.name, str)
    if root is None:
        raise BadInput(
            f"task {card.name}: give --data-root, the folder that holds {name}/.{_howto(card)}"
        )
    if not (root / name).is_dir():
        raise BadInput(f"task {card.name}: no folder {root / name}.{_howto(card)}")
    return root / name


def _howto(card: TaskCard) -> str:
    return f" To get it: {card.howto.rstrip('.')}." if card.howto else ""


def _lines(card: TaskCard, folder: Path, name: str) -> list[tuple[str, int]]:
    file = folder / f"{name}.txt"
    if not file.is_file():
        raise BadInput(f"task {card.name}: no file {file}.{_howto(card)}")
    found = []
    for number, line in numbered(card, file):
        match = LINE.fullmatch(line)
        if match is None:
            raise BadInput(
                f"task {card.name}: {file} line {number} is {line[:60]!a}, expected"
                " 'images/train800/000000.jpg 307'."
            )
        path, label = name_of(match["quoted"] or match["path"]), int(match["label"])
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise BadInput(
                f"task {card.name}: {file} line {number} leaves the task's folder: {path[:60]!r}."
            )
        found.append((path, label))
    return found
