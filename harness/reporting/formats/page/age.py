"""Whether the page that a run wrote still shows its store: to write it takes longer than all else
that a run does whose results are stored."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.io.resources import datasets_dir, osu_csv, papers_toml, published_csv, recipes_toml

if TYPE_CHECKING:
    from harness.store import Store

WHOLE = '<meta name="vpt-harness" content="whole">'
"""In the head of a page that leaves out nothing of its store."""
HEAD = 4096
"""Bytes of a page that it is in."""
SHIPPED = (
    *(Path(__file__).parents[3], Path(__file__).parents[4] / "methods"),
    *(datasets_dir(), published_csv(), osu_csv(), recipes_toml(), papers_toml()),
)
"""What a page is made from beside the store: code, cards, and what is known of others' numbers."""


def is_current(page: Path, store: "Store") -> bool:
    """Whether the page shows all of the store, and is newer than the store's files, its log
    included, and than what is shipped. Not known of a store in another database."""
    try:
        written = page.stat().st_mtime_ns
        if store.changed >= written:
            return False
        with page.open("rb") as file:
            if WHOLE.encode() not in file.read(HEAD):
                return False
        return all(changed < written for changed in _changes())
    except OSError:
        return False


def _changes() -> Iterator[int]:
    """Times of change of what is shipped."""
    for place in SHIPPED:
        if place.is_file():
            yield place.stat().st_mtime_ns
        for folder, inside, files in os.walk(place):
            if "__pycache__" in inside:
                inside.remove("__pycache__")
            for name in files:
                yield os.stat(os.path.join(folder, name)).st_mtime_ns
