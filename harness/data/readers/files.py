"""Where a reader's files are: in the task's folder of the data root, or in the data root itself."""

from pathlib import Path

from harness.cards import TaskCard
from harness.errors import BadInput


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
