"""Commands that are printed for the user: each can be copied and run in the folder in which it was
printed."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from harness.io.flags import DEFAULT_STORE
from harness.io.resources import datasets_dir
from harness.text import plain


class StoreLike(Protocol):
    """What a command needs from a store: the argument of `--store`, None if it is in memory."""

    @property
    def argument(self) -> str | None: ...


class ResultLike(Protocol):
    """What a command needs from a stored result."""

    @property
    def id(self) -> str: ...
    @property
    def provenance(self) -> Mapping[str, Any]: ...


class CardLike(Protocol):
    """What a command needs from a task's card."""

    @property
    def path(self) -> Path: ...


def command(*words: object, store: StoreLike | None = None) -> str:
    """`harness WORDS`, quoted for a shell, with `--store` unless that is the default.

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
    """The path relative to the current folder if it is inside, else unchanged."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def again(store: StoreLike, result: ResultLike, *more: object) -> str:
    """The command that reproduces a row. It names its method's file, if any, which is only executed
    if the user names it."""
    origin = str(result.provenance.get("inputs", {}).get("method"))
    method_flag = ["--method", method(origin)] if ".py:" in origin else []
    return command("reproduce", result.id, *method_flag, *more, store=store)


def method(origin: str, inside: str = "") -> str:
    """A row's method, with its file relative to here, and the arguments of a variant."""
    file, colon, attribute = origin.rpartition(":")
    named = f"{near(file)}:{attribute}" if colon and file.endswith(".py") else origin
    return f"{named}({inside})" if inside else named


def backbone(spec: str) -> str:
    """`NAME` or `NAME=FILE`, with the file relative to here."""
    name, _, file = spec.partition("=")
    return f"{name}={near(file)}" if file else spec


def cards(of: Iterable[CardLike]) -> list[str]:
    """The `--cards` flag for tasks that the harness doesn't ship."""
    folders = dict.fromkeys(
        card.path.parent for card in of if not card.path.is_relative_to(datasets_dir())
    )
    return [word for folder in list(folders)[:1] for word in ("--cards", near(folder))]


def given(inputs: Mapping[str, Any]) -> list[str]:
    """The flags of a row's run, except methods, tasks, backbone and protocol."""
    words = []
    for flag, name in (("--cards", "cards"), ("--data-root", "data_root")):
        if inputs.get(name):
            words += [flag, near(inputs[name])]
    for flag, name in (
        ("--pixels", "pixels"),
        ("--image-size", "image_size"),
        ("--normalize", "normalize"),
        ("--precision", "precision"),
    ):
        if inputs.get(name):
            words += [flag, str(inputs[name])]
    return words
