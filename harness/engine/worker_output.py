"""What a user's method prints in a worker, on its way to the driver's terminal; and `breakpoint()`,
which has no terminal there."""

import contextlib
import io
import pdb
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

MOST = 50
"""Lines of a job that are passed on; the rest are counted."""
WIDEST = 500
"""Characters of a line."""


class Spoken(io.TextIOBase):
    """A standard output whose lines are kept until they are taken."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0
        self.rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *whole, self.rest = (self.rest + text).split("\n")
        self.rest = self.rest[: 2 * WIDEST]
        for line in whole:
            self._add(line)
        return len(text)

    def _add(self, line: str) -> None:
        self.count += 1
        if self.count <= MOST:
            self.lines.append(line[:WIDEST])
        elif self.count == MOST + 1:
            self.lines.append(f"... (more than {MOST} lines: the rest of this job's are left out)")

    def taken(self, over: bool = False) -> list[str]:
        """The lines since the last time; `over`: the job has ended, and with it the last line and
        the count."""
        if over:
            if self.rest:
                self._add(self.rest)
            self.rest, self.count = "", 0
        lines, self.lines = self.lines, []
        return lines

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        with contextlib.redirect_stdout(self):
            yield


def refuse_breakpoints() -> None:
    """In a worker: they would wait for a terminal that isn't there, or be passed over."""
    sys.breakpointhook = _refused
    pdb.set_trace = _refused


def _refused(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError(
        "breakpoint() can't stop in a worker, which has no terminal: run with --dry-run, where it"
        " works"
    )
