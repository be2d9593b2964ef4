"""Ray, started in a thread while the main one imports torch and plans: starting it is waiting.

Its idle processes don't import torch meanwhile: an actor that comes before one of them is ready
gets a new process, and both would import it.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

from harness.engine import ray_private

PATIENCE = 2.0
"""Seconds that an interrupted run waits for a Ray that nobody needs any more."""


class Ahead:
    """A Ray of one's own that is being started, unless something goes wrong."""

    def __init__(self, connect: Callable[[], None]):
        self.taken = False
        self._connect = connect
        self._ready, self._over = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._start, daemon=True)
        self._thread.start()

    def _start(self) -> None:
        """Ray's processes end with the thread that started them, so it stays."""
        try:
            self._connect()
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()
        self._over.wait()

    def take(self) -> None:
        """Waits until Ray is there; from now on it is the caller's to shut down. Raises what
        starting it raised."""
        self.taken = True
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def close(self, interrupted: bool) -> None:
        """Ends the thread, and a Ray that wasn't taken."""
        if not self.taken:
            ending = threading.Thread(target=self._end_ray, daemon=True)
            ending.start()
            ending.join(PATIENCE if interrupted else None)
            if ending.is_alive():
                ray_private.forget_shutdown()
                return
        self._over.set()
        self._thread.join(PATIENCE if interrupted else None)

    def _end_ray(self) -> None:
        import ray

        self._ready.wait()
        ray_private.end_processes_at_once()
        ray.shutdown()
        self._over.set()


@contextlib.contextmanager
def closing(ahead: Ahead | None) -> Iterator[Ahead | None]:
    """Whatever happens in the block, nothing of it stays."""
    try:
        yield ahead
    except BaseException as error:
        if ahead is not None:
            ahead.close(interrupted=isinstance(error, KeyboardInterrupt))
        raise
    if ahead is not None:
        ahead.close(interrupted=False)
