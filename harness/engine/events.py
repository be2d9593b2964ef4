"""A run's events, one JSON object per line (`harness run --log-json FILE`): for programs that watch
the run, and for later analysis.

Every line has `time` (ISO, UTC), `run` (8 hex digits, new at every start of the command), `seconds`
(since that start, by a monotonic clock) and `event`; `docs/watching.md` lists the events and their
fields. What is unknown or doesn't apply is omitted.
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
"""Called with each event: `time`, `run`, `seconds`, `event` and its fields."""


@dataclass(frozen=True)
class Traces:
    """What a run writes besides its store."""

    keep_large: bool = False
    """Whether to keep checkpoints above 32 MB too."""
    log_json: Path | None = None
    """Events, as lines of this file."""
    tensorboard: Path | None = None
    """Curves for TensorBoard, in this folder."""

    @property
    def wanted(self) -> bool:
        """Whether events are written, of which even a run that has nothing to do makes some."""
        return self.log_json is not None or self.tensorboard is not None

    def events(self) -> "Events":
        """Events with their listeners. Raises `BadInput` if a file can't be written, or a package
        is missing."""
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
    """Passes events to listeners."""

    def __init__(self, *listeners: Listener):
        self.listeners = listeners
        self.run = uuid.uuid4().hex[:8]
        self.start = time.monotonic()

    def emit(self, event: str, **fields: Any) -> None:
        """None fields are omitted."""
        if not self.listeners:
            return
        record = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "run": self.run,
            "seconds": round(time.monotonic() - self.start, 3),
            "event": event,
            **{name: value for name, value in fields.items() if value is not None},
        }
        for listener in self.listeners:
            listener(record)


class Log:
    """Writes events to a file. A full disk loses the line, not the run."""

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
        # the disk was full, or it is another program's file
        self._cut = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"
        self._lost = 0

    def __call__(self, record: dict[str, Any]) -> None:
        if self._lost:
            about = {name: record[name] for name in ("time", "run", "seconds")}
            if not self._add({**about, "event": "lost", "lines": self._lost}):
                self._lost += 1
                return
            self._lost = 0
        self._lost += not self._add(record)

    def _add(self, record: dict[str, Any]) -> bool:
        """In a single write, so that neither a signal nor another run's line can split it."""
        line = b"\n" * self._cut + json.dumps(record).encode() + b"\n"
        try:
            written = os.write(self._file, line)
        except OSError:
            return False
        if written:
            self._cut = written < len(line)
        return written == len(line)
