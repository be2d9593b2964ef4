"""Commands that are printed for the user: each works as it stands, in the folder that it was printed in."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.asked import DEFAULT_STORE
from harness.plain import plain
from harness.resources import datasets_dir

if TYPE_CHECKING:
    from harness.cards import TaskCard
    from harness.store import Result, Store


def command(*words: object, store: "Store | None" = None) -> str:
    """`harness WORDS`, quoted for a shell, with the `--store` that it takes where that isn't the default one.

    A password isn't shown: libpq takes it from PGPASSWORD or ~/.pgpass.
    """
    return shlex.join(["harness", *(plain(str(word)) for word in words), *_of(store)])


def _of(store: "Store | None") -> list[str]:
    if store is None or (store.file is None and store.engine.address.backend == "sqlite"):  # one in memory
        return []
    if store.engine.address.argument in (DEFAULT_STORE, DEFAULT_STORE.removeprefix("sqlite:///")):
        return []
    return ["--store", store.engine.address.argument]


def near(path: str | Path) -> str:
    """From this folder where it is within, else whole."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def again(store: "Store", result: "Result", *more: object) -> str:
    """What makes a row again. Its method's file is named where it has one: it is run only where the user names it."""
    origin = str(result.provenance.get("inputs", {}).get("method"))
    own = ["--method", method(origin)] if ".py:" in origin else []
    return command("reproduce", result.id, *own, *more, store=store)


def method(origin: str, inside: str = "") -> str:
    """A method as a row names it, its file from here, with the arguments of a variant."""
    file, colon, attribute = origin.rpartition(":")
    named = f"{near(file)}:{attribute}" if colon and file.endswith(".py") else origin
    return f"{named}({inside})" if inside else named


def backbone(spec: str) -> str:
    """`NAME` or `NAME=FILE`, its file from here."""
    name, _, file = spec.partition("=")
    return f"{name}={near(file)}" if file else spec


def cards(of: "Iterable[TaskCard]") -> list[str]:
    """The `--cards` that tasks need which the harness doesn't ship."""
    folders = dict.fromkeys(card.path.parent for card in of if not card.path.is_relative_to(datasets_dir()))
    return [word for folder in list(folders)[:1] for word in ("--cards", near(folder))]


def given(inputs: Mapping[str, Any]) -> list[str]:
    """The flags that a row's run was given, but for methods, tasks, backbone and protocol."""
    words = []
    for flag, name in (("--cards", "cards"), ("--data-root", "data_root")):
        if inputs.get(name):
            words += [flag, near(inputs[name])]
    for flag, name in (("--pixels", "pixels"), ("--image-size", "image_size"), ("--normalize", "normalize")):
        if inputs.get(name):
            words += [flag, str(inputs[name])]
    return words
