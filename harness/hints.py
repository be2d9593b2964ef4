"""Commands that are printed for the user: each works as it stands, in the folder that it was printed in."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from harness.asked import DEFAULT_STORE
from harness.plain import plain

if TYPE_CHECKING:
    from harness.store import Store


def command(*words: object, store: "Store | None" = None) -> str:
    """`harness WORDS`, quoted for a shell, with the `--store` that it takes where that isn't the default one.

    A password isn't shown: libpq takes it from PGPASSWORD or ~/.pgpass.
    """
    return shlex.join(["harness", *(plain(str(word)) for word in words), *_of(store)])


def _of(store: "Store | None") -> list[str]:
    if store is None or store.engine.address.argument in (DEFAULT_STORE, DEFAULT_STORE.removeprefix("sqlite:///")):
        return []
    return ["--store", store.engine.address.argument]


def near(path: str | Path) -> str:
    """From this folder where it is within, else whole."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
