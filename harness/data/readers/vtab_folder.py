"""The VTAB-1k folder introduced by NOAH and adopted by others:
`<root>/<folder>/{train800,val200,train800val200,test}.txt`.

Each line is a path relative to the task's folder, a space, and a 0-based label:
`images/train800/000000.jpg 307`. Copies written by `harness data export` also have
`keys/{train800,val200,test}.txt`.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.data.readers.files import Present, image_record, missing_image
from harness.data.readers.lists import name_of
from harness.data.readers.reader import TaskReader
from harness.data.readers.record import Record
from harness.tasks.cards import SplitName

LISTS = {"train": "train800", "val": "val200", "test": "test"}
UNION = "train800val200"
LINE = re.compile(r'("(?P<quoted>[^"]+)"|(?P<path>.*\S))\s+(?P<label>-?\d{1,9})', re.ASCII)


class VTABFolder(TaskReader):
    format = "vtab-folder"
    arguments = ("folder",)

    def present(self) -> bool:
        """Whether the task's folder has any of the lists."""
        folder = self.root / self.argument("folder", str) if self.root is not None else None
        return folder is not None and any(
            (folder / f"{name}.txt").is_file() for name in LISTS.values()
        )

    def records(self, split: SplitName) -> Sequence[Record]:
        """The lines of the split's list. Every image must exist."""
        folder = self._folder()
        lines = self._lines(folder, LISTS[split])
        if len(lines) != self.card.sizes.get(split, 0):
            raise self.error(
                f"{split} has {len(lines)} records, expected {self.card.sizes.get(split, 0)}"
                f" ({folder / LISTS[split]}.txt). Get a complete copy."
            )
        records, present = [], Present()
        for key, (name, label) in zip(self._keys(folder, lines, LISTS[split]), lines, strict=True):
            path = present(folder / name)
            if path is None:
                raise missing_image(self.card, folder / name, name, f"{LISTS[split]}.txt")
            records.append(image_record(key, label, path))
        return records

    def check(self) -> None:
        """train800val200, if it exists, has the labels of train800 and val200. Compared as
        multisets, since copies number their files differently."""
        folder = self._folder()
        if not (folder / f"{UNION}.txt").is_file():
            return
        parts = Counter(
            label for name in ("train800", "val200") for _, label in self._lines(folder, name)
        )
        union = Counter(label for _, label in self._lines(folder, UNION))
        if parts != union:
            label = min((parts - union) | (union - parts))
            raise self.error(
                f"{folder / UNION}.txt has label {label} {union[label]} times,"
                f" train800.txt and val200.txt together {parts[label]} times. Get a complete copy."
            )

    def _keys(self, folder: Path, lines: list[tuple[str, int]], name: str) -> list[str]:
        """The paths; or the records' keys in their source, if `harness data export` wrote them."""
        listed = folder / "keys" / f"{name}.txt"
        if not listed.is_file():
            return [path for path, _ in lines]
        keys = self.lists.names(listed)
        if len(keys) != len(lines):
            raise self.error(
                f"{listed} has {len(keys)} lines, {name}.txt has {len(lines)}. Get a"
                " complete copy, or delete keys/."
            )
        return keys

    def _folder(self) -> Path:
        name = self.argument("folder", str)
        if self.root is None:
            raise self.error(f"give --data-root, the folder that contains {name}/.{self._howto()}")
        if not (self.root / name).is_dir():
            raise self.error(f"no folder {self.root / name}.{self._howto()}")
        return self.root / name

    def _howto(self) -> str:
        return f" To get it: {self.card.howto.rstrip('.')}." if self.card.howto else ""

    def _lines(self, folder: Path, name: str) -> list[tuple[str, int]]:
        file = folder / f"{name}.txt"
        if not file.is_file():
            raise self.error(f"no file {file}.{self._howto()}")
        lines = []
        for number, line in self.lists.numbered(file):
            match = LINE.fullmatch(line)
            if match is None:
                raise self.error(
                    f"{file} line {number} is {line[:60]!a}, expected"
                    " 'images/train800/000000.jpg 307'."
                )
            path, label = name_of(match["quoted"] or match["path"]), int(match["label"])
            if Path(path).is_absolute() or ".." in Path(path).parts:
                raise self.error(
                    f"{file} line {number} is outside the task's folder: {path[:60]!r}."
                )
            lines.append((path, label))
        return lines
