"""Errors for bad input: one line that names the problem and the fix."""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

from harness.text import plain


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
    close = get_close_matches(name, list(known), n=5, cutoff=0.5)
    if not close:
        return ""

    def closeness(other: str) -> tuple[float, bool]:
        return SequenceMatcher(None, other, name).ratio(), sorted(other) == sorted(name)

    return f" Did you mean '{max(close, key=closeness)}'?"


def unknown(kind: str, name: str, known: Iterable[str]) -> BadInput:
    """The error for a name that isn't one of `known`: suggests the nearest, and lists all."""
    known = sorted(known)
    return BadInput(f"unknown {kind} '{name}'.{nearest(name, known)} Known: {', '.join(known)}.")
