"""What ends a run from outside: Ctrl-C, a scheduler's SIGTERM, and the death of this machine's Ray.
The store is whole after each."""

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
"""Seconds from a signal to the end of the process, whatever it is stuck in: some schedulers send
SIGKILL 10 s after SIGTERM."""

_ASKED = (signal.SIGINT, signal.SIGTERM)
_RAY = signal.SIGUSR2
_TUNES = signal.SIGUSR1  # Tune takes it, and keeps it
_POLL = 0.5


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to end."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum
        """What shells and schedulers take for "ended by this signal"."""


class RayDied(KeyboardInterrupt):
    """A process of the Ray that this run started is gone: nothing more can be expected of it. Like
    Ctrl-C, so that Tune lets it through."""


@dataclass
class _Deferral:
    """What the handler of signals and the code that it breaks into share. One a process, as its
    handlers are."""

    depth: int = 0
    """Of `held`, where a signal waits."""
    waiting: int | None = None
    last: int = signal.SIGINT
    """What was raised last, which Ray may have made a plain `KeyboardInterrupt` of."""


_deferral = _Deferral()


@contextmanager
def held() -> Iterator[None]:
    """A block that no signal breaks: one that comes is served at its end. For what is finished, to
    reach the store."""
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
    """Within, this process is the command's own, which a run may end. Elsewhere it is a program or
    a notebook that called us, and goes on whatever becomes of a run."""
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
    where that takes longer than `GRACE`.

    The second Ctrl-C ends the process at once. `last_words` are printed where the process ends so.
    With `ends_process` False the signal is raised, and that is all. Entered in another thread than
    the main one it does nothing: Python serves signals in that one alone.
    """

    def __init__(self, last_words: str = "", ends_process: bool = True):
        self.last_words = last_words
        self.ends_process = ends_process

    def __enter__(self) -> "Interrupts":
        self._ours = threading.current_thread() is threading.main_thread()
        if self._ours:
            _deferral.depth, _deferral.waiting = 0, None
            self._before = {signum: signal.getsignal(signum) for signum in (*_ASKED, _RAY, _TUNES)}
            if self.ends_process:
                self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
                self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
                self._over = threading.Event()
                self._guard = threading.Thread(target=self._see_to_the_end, daemon=True)
                self._guard.start()
            self.take()
        return self

    def take(self) -> None:
        """Takes the signals; again after `ray.init`, which takes SIGTERM for itself."""
        if self._ours:
            for signum in (*_ASKED, _RAY):
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
            return  # who is to end is guarded to the end
        for signum, handler in self._before.items():
            if handler is not None:  # one that C code set can't be set again from here
                signal.signal(signum, handler)
        if self.ends_process:
            self._over.set()
            signal.set_wakeup_fd(self._wakeup)
            self._guard.join()
            os.close(self._read)
            os.close(self._write)

    def _see_to_the_end(self) -> None:
        """A thread that hears of signals though the main thread be deep in a library."""
        first, end = 0, 0.0
        while not self._over.is_set():
            if first and time.monotonic() > end:
                self._end(first)
            ready, _, _ = select.select([self._read], [], [], 0.2)
            for signum in os.read(self._read, 64) if ready else b"":
                if signum == signal.SIGINT and first:
                    self._end(signum)
                if signum in _ASKED and not first:
                    first, end = signum, time.monotonic() + GRACE

    def _end(self, signum: int) -> NoReturn:
        with suppress(OSError):
            os.write(1, f"\n{self.last_words}\n".encode() if self.last_words else b"")
        os._exit(128 + signum)


@contextmanager
def watching(dead: Callable[[], bool], last_words: str = "") -> Iterator[None]:
    """Asks `dead` twice a second; once it says so, `RayDied` is raised in the main thread, which
    entered `Interrupts`.

    Where that is stuck in a call that no signal breaks, as into a Ray that is gone, the process
    ends with code 2 after `last_words`.
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
    except KeyboardInterrupt as error:  # within Ray's calls, what we raise comes out as a plain one
        raise (
            error if isinstance(error, Interrupted | RayDied) else _meaning(_deferral.last)
        ) from None
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()


def _serve(signum: int, _: FrameType | None) -> None:
    if _deferral.depth:
        if _deferral.waiting in (None, _RAY):  # what the user asks for goes before a restart
            _deferral.waiting = signum
        return
    raise _meaning(signum)


def _meaning(signum: int) -> KeyboardInterrupt:
    _deferral.last = signum
    return RayDied() if signum == _RAY else Interrupted(signum)
