"""What happens in a run, as one JSON object a line (`harness run --log-json FILE`): for programs
that watch, and for reading up later.

Every line has `time` (ISO, UTC), `run` (8 hex digits, one a start of the command), `seconds` (since
that start, by a clock that never jumps) and `event`; `docs/watching.md` lists the events with what
they tell. What isn't known or doesn't apply is left out.
"""

import json
import os
import time
import uuid
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import BadInput

Listener = Callable[[dict[str, Any]], None]
"""Is handed each event: `time`, `run`, `seconds`, `event` and what it tells."""


@dataclass(frozen=True)
class Traces:
    """What a run leaves beside its store."""

    keep_large: bool = False
    """Checkpoints above 32 MB too."""
    log_json: Path | None = None
    """Events, as lines of this file."""
    tensorboard: Path | None = None
    """Curves, as TensorBoard reads them, in this folder."""

    def events(self) -> "Events":
        """Those who listen, ready. Raises `BadInput` where a file can't be written, or a package is
        missing."""
        listeners: list[Listener] = []
        if self.tensorboard is not None:
            try:
                from harness.engine.tensorboard import Curves
            except ModuleNotFoundError as error:
                raise BadInput(
                    f"--tensorboard needs the package {error.name}: pip install"
                    " 'vpt-harness[tensorboard]'."
                ) from error
            listeners.append(Curves(self.tensorboard))
        if self.log_json is not None:
            listeners.append(Log(self.log_json))
        return Events(*listeners)


class Events:
    """Tells those who listen what happens."""

    def __init__(self, *listeners: Listener):
        self.listeners = listeners
        self.run = uuid.uuid4().hex[:8]
        self.start = time.monotonic()

    def tell(self, event: str, **fields: Any) -> None:
        """What is None isn't told."""
        if not self.listeners:
            return
        said = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "run": self.run,
            "seconds": round(time.monotonic() - self.start, 3),
            "event": event,
            **{name: value for name, value in fields.items() if value is not None},
        }
        for listener in self.listeners:
            listener(said)


class Log:
    """A file that takes events. A full disk costs the line, not the run."""

    def __init__(self, path: Path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise BadInput(
                f"--log-json {path} can't be written ({error.strerror}): name another file."
            ) from error
        weakref.finalize(self, os.close, self._file)
        size = os.fstat(self._file).st_size
        # a disk was full, or another program's file
        self._cut = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"
        self._lost = 0

    def __call__(self, said: dict[str, Any]) -> None:
        if self._lost:
            about = {name: said[name] for name in ("time", "run", "seconds")}
            if not self._add({**about, "event": "lost", "lines": self._lost}):
                self._lost += 1
                return
            self._lost = 0
        self._lost += not self._add(said)

    def _add(self, said: dict[str, Any]) -> bool:
        """In one write, so that neither a signal nor another run's line comes between."""
        line = b"\n" * self._cut + json.dumps(said).encode() + b"\n"
        try:
            written = os.write(self._file, line)
        except OSError:
            return False
        if written:
            self._cut = written < len(line)
        return written == len(line)
