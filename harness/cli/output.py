"""Standard output that may be anything: a terminal without our characters, a full device, a pipe
that nobody reads any more."""

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
"""What stands for our characters where they can't be shown; others' are shown by their numbers."""

CLOSED = 141
"""Exit code where nobody reads the output any more: what shells say of `head`'s left neighbour (128
+ SIGPIPE)."""


class Unwritten(Exception):
    """Standard output takes no more: `error` says why. No `OSError`, which libraries on the way
    would take for their own affair."""

    def __init__(self, error: OSError):
        super().__init__(str(error))
        self.error = error


class Output:
    """A text stream of which a fault is an `Unwritten`."""

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
    """Standard output writes what it can of any text, and says by `Unwritten` that it can't write
    at all."""
    codecs.register_error("harness", _shown)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="harness")  # type: ignore[union-attr]
    if sys.stdout is not None and not isinstance(sys.stdout, Output):
        sys.stdout = Output(sys.stdout)


def end(unwritten: Unwritten) -> NoReturn:
    """Says it in a line, and out. Of a closed pipe nothing is said: its reader had enough."""
    with suppress(OSError):
        # what is left in the buffer goes nowhere, without a second fault
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if unwritten.error.errno == errno.EPIPE:
        sys.exit(CLOSED)
    print(
        f"harness: can't write the output ({unwritten.error.strerror}): give it a place with room.",
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
