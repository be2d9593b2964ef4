"""Errors for bad input: one line that names the problem and the fix."""

from collections.abc import Iterable
from difflib import get_close_matches

from harness.text import plain


class BadInput(Exception):
    """Something the user gave can't be used. The message is one line: what is wrong, where, and
    what to do. Exit code 2.

    It may contain names from anywhere: control characters other than line breaks are removed.
    """

    def __init__(self, message: str = ""):
        super().__init__("\n".join(plain(line) for line in str(message).split("\n")))


def nearest(name: str, known: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the known name closest to `name`, or the empty string."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> BadInput:
    """The error for a name that isn't one of `known`: suggests the nearest, and lists all."""
    known = sorted(known)
    return BadInput(f"unknown {kind} '{name}'.{nearest(name, known)} Known: {', '.join(known)}.")
