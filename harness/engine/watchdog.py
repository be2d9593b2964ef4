"""Hung jobs: a worker without progress for too long ends its own process, and the scheduler retries
the job.

Ray Tune can't do that: its hooks run between results, and a hung trial has none.
"""

import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from harness.engine import ray_private

_LATER = 30.0
"""Further seconds until C code ends a process whose interpreter is stuck as well, so that none of
our threads run."""


class Watchdog:
    """Watches the thread that enters `watching`: each batch should call `alive`."""

    def __init__(self, seconds: float, last_words: Callable[[str], None]):
        """`seconds`: allowed between calls of `alive`; 0: any. `last_words` is called with the
        reason just before the process ends."""
        self.seconds = seconds
        self.last_words = last_words
        self.seen = 0.0
        self.thread: int | None = None
        if seconds:
            threading.Thread(target=self._look, daemon=True).start()

    def alive(self) -> None:
        self.seen = time.monotonic()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Wrap a running job in this."""
        self.alive()
        self.thread = threading.get_ident()
        try:
            yield
        finally:
            self.thread = None

    def end(self, reason: str) -> NoReturn:
        """Ends this process, which can't go on: the driver gives its job to another."""
        with suppress(Exception):
            self.last_words(reason)
        os._exit(70)

    def _look(self) -> None:
        while True:
            time.sleep(min(1.0, self.seconds / 10))
            thread = self.thread
            if thread is None:
                faulthandler.cancel_dump_traceback_later()
                continue
            # postponed as long as this thread runs
            faulthandler.dump_traceback_later(self.seconds + _LATER, exit=True, file=2)
            if time.monotonic() - self.seen > self.seconds:
                self._end(thread)

    def _end(self, thread: int) -> None:
        frame = sys._current_frames().get(thread)
        place = traceback.extract_stack(frame)[-1] if frame else None
        where = (
            f", in {place.name} ({os.path.basename(place.filename)}:{place.lineno})"
            if place
            else ""
        )
        self.end(f"hung: no batch for {self.seconds:g} s (--trial-timeout){where}")


def store_reason(trial_id: str, reason: str) -> None:
    """In a worker: stores why its process is about to end, for the driver."""
    ray_private.put(_key(trial_id), reason)


def stored_reason(trial_id: str) -> str | None:
    """In the driver: the reason that a dead worker has stored, if any."""
    return ray_private.get(_key(trial_id))


def _key(trial_id: str) -> str:
    return f"vpt-harness/died/{trial_id}"
