"""Where a reader's files are: in the task's folder of the data root, or in the data root itself; and what is alike in reading them."""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from PIL.Image import Image

from harness.cards import TaskCard
from harness.data.images import rgb
from harness.data.readers.record import Record
from harness.errors import BadInput
from harness.plain import plain


def find(card: TaskCard, root: Path | None, *names: str) -> Path | None:
    """The first of `names` (relative paths) that is there: under `<root>/<task>`, then under `<root>`. None where none is."""
    for folder in (root / card.name, root) if root is not None else ():
        for name in names:
            if (folder / name).exists():
                return folder / name
    return None


def need(card: TaskCard, root: Path | None, *names: str) -> Path:
    """As `find`. Raises `BadInput`: what is missing, where it was looked for, and how to get it."""
    found = find(card, root, *names)
    if found is not None:
        return found
    howto = f" To get it: {card.howto.rstrip('.')}." if card.howto else ""
    if root is None:
        raise BadInput(f"task {card.name}: give --data-root, the folder that holds {names[0]}.{howto}")
    raise BadInput(f"task {card.name}: no {' or '.join(names)} in {root / card.name} or {root}.{howto}")


def stamp(path: Path) -> str:
    """Changes when the file's bytes may have changed."""
    stat = path.stat()
    return f"{stat.st_size}/{stat.st_mtime_ns}/{stat.st_ctime_ns}"


def lines_of(card: TaskCard, path: Path) -> list[str]:
    """The lines of a text file that aren't empty. Raises `BadInput`."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"task {card.name}: {path} is missing, or no text. Get it again.") from error


def inside(card: TaskCard, folder: Path, name: str) -> Path:
    """The file that a list names, below `folder`. Raises `BadInput` for a name that leads elsewhere."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise BadInput(f"task {card.name}: a list names {name[:60]!r}, which is outside of {folder}. Don't trust its source.")
    return folder / name


def in_order(names: Iterable[str]) -> list[str]:
    """Names of classes, as numbers where all are, however long."""
    found = set(names)
    if not all(name.isascii() and name.isdecimal() for name in found):
        return sorted(found)
    return sorted(found, key=lambda name: (len(name.lstrip("0")), name.lstrip("0"), name))


def image_records(card: TaskCard, images: Sequence[tuple[str, int, Path]], open_image: Callable[[Path], Image] = rgb) -> list[Record]:
    """Records of image files: (key, label, path), opened by Pillow or `open_image`. Every file must be there. Raises `BadInput`."""
    found = []
    for key, label, path in images:
        if not os.path.isfile(path):  # `Path.is_file` raises for a name that is too long
            raise BadInput(f"task {card.name}: {plain(str(path))[:300]} is missing. Get a whole copy.")
        found.append(Record(key, label, path.read_bytes, partial(open_image, path), partial(stamp, path)))
    return found
