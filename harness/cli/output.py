"""Standard output, whatever it is: a terminal without our characters, a full device, or a pipe
whose reader has gone."""

import codecs
import errno
import os
import sys
from contextlib import suppress
from typing import Any, NoReturn

PLAIN = {
    "±": "+-",
    "–": "-",
    "—": "-",
    "−": "-",
    "≈": "~",
    "✓": "x",
    "·": ".",
    "…": "...",
    "×": "x",
    "→": "->",
}
"""Replacements for our characters if they can't be shown; others are shown by code point."""

CLOSED = 141
"""Exit code when the reader of a pipe has gone, as for the command before `head` (128 +
SIGPIPE)."""


class Unwritten(Exception):
    """Standard output can't be written: `error` says why. Not an `OSError`, which libraries might
    handle themselves."""

    def __init__(self, error: OSError):
        super().__init__(str(error))
        self.error = error


class Output:
    """A text stream that raises `Unwritten` on errors."""

    def __init__(self, stream: Any):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise Unwritten(error) from None

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise Unwritten(error) from None


def prepare() -> None:
    """Makes standard output write what it can of any text, and raise `Unwritten` if it can't be
    written at all."""
    codecs.register_error("harness", _shown)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="harness")  # type: ignore[union-attr]
    if sys.stdout is not None and not isinstance(sys.stdout, Output):
        sys.stdout = Output(sys.stdout)


def end(unwritten: Unwritten) -> NoReturn:
    """Reports it in one line and exits; silently for a closed pipe, whose reader has read
    enough."""
    with suppress(OSError):
        # discard the rest of the buffer, without a second error
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if unwritten.error.errno == errno.EPIPE:
        sys.exit(CLOSED)
    print(
        f"harness: can't write the output ({unwritten.error.strerror}): write it to a disk with"
        " free space.",
        file=sys.stderr,
    )
    sys.exit(2)


def _shown(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return (
        "".join(
            PLAIN.get(letter) or letter.encode("ascii", "backslashreplace").decode()
            for letter in text
        ),
        error.end,
    )
