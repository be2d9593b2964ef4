"""What ends a run from outside: Ctrl-C, a scheduler's SIGTERM, and the death of this machine's Ray.
The store is consistent after each."""

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import NoReturn

GRACE = 7.0
"""Seconds from a signal to the end of the process, wherever it is stuck: some schedulers send
SIGKILL 10 s after SIGTERM."""

_ENDING = (signal.SIGINT, signal.SIGTERM)
_RAY = signal.SIGUSR2
_USED_BY_TUNE = signal.SIGUSR1  # Tune handles it, and doesn't restore it
_POLL = 0.5


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to end."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum
        """What shells and schedulers read as "ended by this signal"."""


class RayDied(KeyboardInterrupt):
    """A process of the Ray that this run started is gone, so Ray is unusable. A
    `KeyboardInterrupt`, so that Tune lets it through."""


@dataclass
class _Deferral:
    """What the signal handler and the code that it interrupts share. One per process, as are signal
    handlers."""

    depth: int = 0
    """Nesting of `held`, inside which signals wait."""
    waiting: int | None = None
    last: int = signal.SIGINT
    """The last one raised, which Ray may have turned into a plain `KeyboardInterrupt`."""


_deferral = _Deferral()


@contextmanager
def held() -> Iterator[None]:
    """A block that no signal interrupts: one that arrives is handled at its end. So that finished
    work reaches the store."""
    _deferral.depth += 1
    try:
        yield
    finally:
        _deferral.depth -= 1
    if not _deferral.depth and _deferral.waiting is not None:
        signum, _deferral.waiting = _deferral.waiting, None
        raise _meaning(signum)


_PROCESS_IS_OURS: ContextVar[bool] = ContextVar("process_is_ours", default=False)


@contextmanager
def owning_the_process() -> Iterator[None]:
    """Inside, this process belongs to the command, and a run may end it. Outside, it is a program
    or notebook that called us, and continues whatever happens to a run."""
    token = _PROCESS_IS_OURS.set(True)
    try:
        yield
    finally:
        _PROCESS_IS_OURS.reset(token)


def process_is_ours() -> bool:
    """Whether a run may end this process: see `owning_the_process`."""
    return _PROCESS_IS_OURS.get()


class Interrupts:
    """While it is entered, a signal raises `Interrupted` in the main thread; and ends the process
    if that takes longer than `GRACE`.

    The second Ctrl-C ends the process at once. `last_words` are printed in these cases. With
    `ends_process` False, the exception is all. Entered outside the main thread, it does nothing:
    Python only handles signals there.
    """

    def __init__(self, last_words: str = "", ends_process: bool = True):
        self.last_words = last_words
        self.ends_process = ends_process

    def __enter__(self) -> "Interrupts":
        self._ours = threading.current_thread() is threading.main_thread()
        if self._ours:
            _deferral.depth, _deferral.waiting = 0, None
            self._before = {
                signum: signal.getsignal(signum) for signum in (*_ENDING, _RAY, _USED_BY_TUNE)
            }
            if self.ends_process:
                self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
                self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
                self._over = threading.Event()
                self._guard = threading.Thread(target=self._enforce_end, daemon=True)
                self._guard.start()
            self.take()
        return self

    def take(self) -> None:
        """Installs the handlers; again after `ray.init`, which replaces the one for SIGTERM."""
        if self._ours:
            for signum in (*_ENDING, _RAY):
                signal.signal(signum, _serve)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._ours:
            return
        if self.ends_process and isinstance(error, Interrupted):
            return  # the guard stays until the process ends
        for signum, handler in self._before.items():
            if handler is not None:  # one set by C code can't be restored from here
                signal.signal(signum, handler)
        if self.ends_process:
            self._over.set()
            signal.set_wakeup_fd(self._wakeup)
            self._guard.join()
            os.close(self._read)
            os.close(self._write)

    def _enforce_end(self) -> None:
        """A thread that notices signals even while the main thread is inside a library."""
        first, end = 0, 0.0
        while not self._over.is_set():
            if first and time.monotonic() > end:
                self._end(first)
            ready, _, _ = select.select([self._read], [], [], 0.2)
            for signum in os.read(self._read, 64) if ready else b"":
                if signum == signal.SIGINT and first:
                    self._end(signum)
                if signum in _ENDING and not first:
                    first, end = signum, time.monotonic() + GRACE

    def _end(self, signum: int) -> NoReturn:
        with suppress(OSError):
            os.write(1, f"\n{self.last_words}\n".encode() if self.last_words else b"")
        os._exit(128 + signum)


@contextmanager
def watching(dead: Callable[[], bool], last_words: str = "") -> Iterator[None]:
    """Calls `dead` twice a second; once it is true, raises `RayDied` in the main thread, which must
    have entered `Interrupts`.

    If that is stuck in a call that no signal interrupts, such as into a dead Ray, the process ends
    with code 2 after `last_words`.
    """
    over, main = threading.Event(), threading.main_thread()

    def look() -> None:
        while not over.wait(_POLL):
            if dead():
                if not over.is_set() and main.ident is not None:
                    signal.pthread_kill(main.ident, _RAY)
                if last_words and not over.wait(GRACE):
                    with suppress(OSError):
                        os.write(2, f"\n{last_words}\n".encode())
                    os._exit(2)
                return

    thread = threading.Thread(target=look, daemon=True)
    if signal.getsignal(_RAY) is _serve:
        thread.start()
    try:
        yield
    except KeyboardInterrupt as error:  # Ray's calls turn what we raise into a plain one
        raise (
            error if isinstance(error, Interrupted | RayDied) else _meaning(_deferral.last)
        ) from None
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()


def _serve(signum: int, _: FrameType | None) -> None:
    if _deferral.depth:
        if _deferral.waiting in (None, _RAY):  # the user's signal takes precedence over a restart
            _deferral.waiting = signum
        return
    raise _meaning(signum)


def _meaning(signum: int) -> KeyboardInterrupt:
    _deferral.last = signum
    return RayDied() if signum == _RAY else Interrupted(signum)
