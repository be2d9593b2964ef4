"""Where a reader's files are: in the task's folder of the data root, or in the data root itself;
and what readers share."""

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from PIL.Image import Image

from harness.data.images import rgb
from harness.data.readers.record import Record
from harness.errors import BadInput
from harness.tasks.cards import TaskCard
from harness.text import printable, visible


def find(card: TaskCard, root: Path | None, *names: str) -> Path | None:
    """The first of `names` (relative paths) that exists, under `<root>/<task>`, then under
    `<root>`; None if there is none."""
    for folder in (root / card.name, root) if root is not None else ():
        for name in names:
            if (folder / name).exists():
                return folder / name
    return None


def need(card: TaskCard, root: Path | None, *names: str) -> Path:
    """As `find`. Raises `BadInput` that says what is missing, where it was expected, and how to get
    it."""
    path = find(card, root, *names)
    if path is not None:
        return path
    howto = f" To get it: {card.howto.rstrip('.')}." if card.howto else ""
    if root is None:
        raise BadInput(
            f"task {card.name}: give --data-root, the folder that contains {names[0]}.{howto}"
        )
    raise BadInput(
        f"task {card.name}: no {' or '.join(names)} in {root / card.name} or {root}.{howto}"
    )


def stamp(path: Path) -> str:
    """Changes when the file's bytes may have changed."""
    stat = path.stat()
    return f"{stat.st_size}/{stat.st_mtime_ns}/{stat.st_ctime_ns}"


def in_order(names: Iterable[str]) -> list[str]:
    """Class names in order; in numeric order if all are numbers, however long."""
    unique = set(names)
    if not all(name.isascii() and name.isdecimal() for name in unique):
        return sorted(unique)
    return sorted(unique, key=lambda name: (len(name.lstrip("0")), name.lstrip("0"), name))


class Present:
    """Files that lists name, as they are spelt on disk; lists each folder once instead of checking
    each file."""

    def __init__(self) -> None:
        self.listed: dict[Path, set[str]] = {}

    def __call__(self, path: Path) -> Path | None:
        """The file; or the one with the same name in another Unicode form (NFC, NFD), as in copies
        from macOS. None if there is none."""
        return path if path.name in self._names(path.parent) else self._spelt(path)

    def _names(self, folder: Path) -> set[str]:
        if folder not in self.listed:
            # `Path.is_dir` raises for long names
            self.listed[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        return self.listed[folder]

    def _spelt(self, path: Path) -> Path | None:
        if path == path.parent or os.path.exists(path):
            return path
        folder = self._spelt(path.parent)
        if folder is None:
            return None
        same = [name for name in self._names(folder) if composed(name) == composed(path.name)]
        return folder / same[0] if len(same) == 1 else None


def composed(text: str) -> str:
    """In Unicode's NFC, each letter and its accents as one character."""
    return unicodedata.normalize("NFC", text)


def missing_image(card: TaskCard, path: Path, named: str, by: str = "") -> BadInput:
    """The error for an image that a list names but that doesn't exist. `named`: the name in the
    list; `by`: the list."""
    spelt = "" if named.isascii() and named.isprintable() else f", as {visible(named)}"
    where = f" ({by} names it{spelt})" if by else f" (named{spelt[1:]})" if spelt else ""
    howto = (
        f" To get it: {card.howto.rstrip('.')}." if card.howto and by else " Get a complete copy."
    )
    return BadInput(f"task {card.name}: {printable(str(path))[:300]} is missing{where}.{howto}")


def image_opener(card: TaskCard) -> Callable[[Path], Image]:
    """How a reader opens images, by its argument `alpha`: `grey` or `dropped`. Raises `BadInput`
    for another value."""
    alpha = card.reader.arguments.get("alpha", "grey")
    if alpha not in ("grey", "dropped"):
        raise BadInput(
            f"task {card.name}: 'alpha' in its card's [reader] is {str(alpha)[:40]!r}, expected"
            " grey or dropped."
        )
    return partial(rgb, alpha=alpha)


def image_records(
    card: TaskCard,
    images: Sequence[tuple[str, int, Path]],
    open_image: Callable[[Path], Image] = rgb,
) -> list[Record]:
    """Records of image files: (key, label, path), opened by Pillow or `open_image`. Every file must
    exist. Raises `BadInput`."""
    records, present = [], Present()
    for key, label, named in images:
        path = present(named)
        if path is None:
            raise missing_image(card, named, key)
        records.append(image_record(key, label, path, open_image))
    return records


def image_record(
    key: str, label: int, path: Path, open_image: Callable[[Path], Image] = rgb
) -> Record:
    """The record of an existing image file."""
    return Record(
        key,
        label,
        path.read_bytes,
        partial(open_image, path),
        partial(stamp, path),
        file=str(path),
    )
