"""The configs that filled a store: a TOML file for each run, in a folder next to the store, with
the flags that the run was given. `harness run --config` takes each of them, `--again` the last."""

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import BadInput
from harness.io import commands
from harness.io.atomic import temporary
from harness.io.passwords import masked
from harness.io.toml import written
from harness.store import Store
from harness.text import plain


def keep(store: Store, given: Mapping[str, Any]) -> None:
    """Writes a run's flags, by their names without dashes, unless the last run had the same ones
    here. Flags that aren't given are None or False, and left out; so is a text with a password.

    A folder that can't be written is no error: the run will find out by itself, or needn't.
    """
    folder = store.configs
    if folder is None:
        return
    values = {
        name: value
        for name, value in given.items()
        if value is not None and value is not False and masked(str(value)) == str(value)
    }
    text, before = written(values), _last(folder)
    now = datetime.now(UTC)
    with suppress(OSError):
        if before is not None and _without_comments(before) == text:
            return
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{now:%Y-%m-%dT%H-%M-%S.%f}"
        with temporary(folder / f"{name}.toml") as part:
            part.write_text(f"# A run from {plain(os.getcwd())}\n{text}", encoding="utf-8")
            part.replace(folder / f"{name}.toml")


def last(store: Store) -> Path:
    """The newest config of a store. Raises `BadInput` if it has none."""
    file = None if store.configs is None else _last(store.configs)
    if file is None:
        run = commands.command("run", store=store)
        raise BadInput(f"--again: {store.name} has no earlier run to repeat: start with `{run}`.")
    return file


def _last(folder: Path) -> Path | None:
    return max(folder.glob("*.toml"), key=lambda file: file.name, default=None)


def _without_comments(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))
