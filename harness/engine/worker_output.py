"""Captures what a user's method prints in a worker, for the driver's terminal; and refuses
`breakpoint()`, which has no terminal there."""

import contextlib
import io
import pdb
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

MOST = 50
"""Lines of a job that are passed on; the rest are dropped."""
WIDEST = 500
"""Characters per line."""


class CapturedOutput(io.TextIOBase):
    """A standard output that keeps its lines until they are taken."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0
        self.rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        self.rest = self.rest[: 2 * WIDEST]
        for line in lines:
            self._add(line)
        return len(text)

    def _add(self, line: str) -> None:
        self.count += 1
        if self.count <= MOST:
            self.lines.append(line[:WIDEST])
        elif self.count == MOST + 1:
            self.lines.append(
                f"... (more than {MOST} lines: the rest of this job's output is left out)"
            )

    def taken(self, over: bool = False) -> list[str]:
        """The lines since the last call; `over`: the job has ended, which completes the last line
        and resets the count."""
        if over:
            if self.rest:
                self._add(self.rest)
            self.rest, self.count = "", 0
        lines, self.lines = self.lines, []
        return lines

    @contextlib.contextmanager
    def capturing(self) -> Iterator[None]:
        with contextlib.redirect_stdout(self):
            yield


def refuse_breakpoints() -> None:
    """In a worker, they would wait for a missing terminal, or be ignored."""
    sys.breakpointhook = _refused
    pdb.set_trace = _refused


def _refused(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError(
        "breakpoint() can't stop in a worker, which has no terminal: it does in `harness try`, and"
        " with --dry-run"
    )
