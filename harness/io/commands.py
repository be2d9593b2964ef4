"""Commands that are printed for the user: each works as it stands, in the folder that it was
printed in."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from harness.io.flags import DEFAULT_STORE
from harness.io.resources import datasets_dir
from harness.text import plain


class StoreLike(Protocol):
    """What a command needs to know of a store: what `--store` takes for it, None where it is in
    memory."""

    @property
    def argument(self) -> str | None: ...


class ResultLike(Protocol):
    """What a command needs to know of a stored result."""

    @property
    def id(self) -> str: ...
    @property
    def provenance(self) -> Mapping[str, Any]: ...


class CardLike(Protocol):
    """What a command needs to know of a task's card."""

    @property
    def path(self) -> Path: ...


def command(*words: object, store: StoreLike | None = None) -> str:
    """`harness WORDS`, quoted for a shell, with the `--store` that it takes where that isn't the
    default one.

    A password isn't shown: libpq takes it from PGPASSWORD or ~/.pgpass.
    """
    return shlex.join(["harness", *(plain(str(word)) for word in words), *_of(store)])


def _of(store: StoreLike | None) -> list[str]:
    argument = store.argument if store is not None else None
    return (
        []
        if argument in (None, DEFAULT_STORE, DEFAULT_STORE.removeprefix("sqlite:///"))
        else ["--store", argument]
    )


def near(path: str | Path) -> str:
    """From this folder where it is within, else whole."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def again(store: StoreLike, result: ResultLike, *more: object) -> str:
    """What makes a row again. Its method's file is named where it has one: it is run only where the
    user names it."""
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


def cards(of: Iterable[CardLike]) -> list[str]:
    """The `--cards` that tasks need which the harness doesn't ship."""
    folders = dict.fromkeys(
        card.path.parent for card in of if not card.path.is_relative_to(datasets_dir())
    )
    return [word for folder in list(folders)[:1] for word in ("--cards", near(folder))]


def given(inputs: Mapping[str, Any]) -> list[str]:
    """The flags that a row's run was given, but for methods, tasks, backbone and protocol."""
    words = []
    for flag, name in (("--cards", "cards"), ("--data-root", "data_root")):
        if inputs.get(name):
            words += [flag, near(inputs[name])]
    for flag, name in (
        ("--pixels", "pixels"),
        ("--image-size", "image_size"),
        ("--normalize", "normalize"),
    ):
        if inputs.get(name):
            words += [flag, str(inputs[name])]
    return words
