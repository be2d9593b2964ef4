"""Errors for bad input: one line that names the problem and the fix."""

import inspect
from collections.abc import Callable, Iterable
from difflib import SequenceMatcher, get_close_matches
from functools import wraps
from typing import ParamSpec, TypeVar

from harness.text import plain

P = ParamSpec("P")
R = TypeVar("R")


MANY = 30
"""Names that aren't listed where one of them is near: the tasks and the methods."""


class BadInput(Exception):
    """Something the user gave can't be used. The message is one line: what is wrong, where, and
    what to do. Exit code 2.

    It may contain names from anywhere: control characters other than line breaks are removed.
    """

    def __init__(self, message: str = ""):
        super().__init__("\n".join(plain(line) for line in str(message).split("\n")))


def nearest(name: str, known: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the known name closest to `name`, or the empty string. Of equally
    close ones, one with the same letters."""
    close = get_close_matches(name, list(known), n=5, cutoff=0.6)
    if not close:
        return ""

    def closeness(other: str) -> tuple[float, bool]:
        return SequenceMatcher(None, other, name).ratio(), sorted(other) == sorted(name)

    return f" Did you mean '{max(close, key=closeness)}'?"


def unknown(kind: str, name: str, known: Iterable[str]) -> BadInput:
    """The error for a name that isn't one of `known`: suggests the nearest, and lists all, unless
    they are many and one is near."""
    known = sorted(known)
    near = nearest(name, known)
    listed = "" if near and len(known) > MANY else f" Known: {', '.join(known)}."
    return BadInput(f"unknown {kind} '{name}'.{near}{listed}")


def names_arguments(options: type | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a function of the API: a call with arguments that it hasn't, or without one that it
    needs, is a `BadInput` that lists those there are, instead of Python's `TypeError`.

    `options`: the typed dictionary of the keywords that it takes as `**options`.
    """

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        known = [
            name
            for name, parameter in signature.parameters.items()
            if name != "self" and parameter.kind is not parameter.VAR_KEYWORD
        ]
        known += [] if options is None else options.__annotations__

        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs.keys() - set(known):
                raise unknown(f"argument of {function.__name__}", name, known)
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise BadInput(
                    f"{function.__name__}: {error}. Its arguments: {', '.join(known)}."
                ) from None
            return function(*args, **kwargs)

        return checked

    return decorated
