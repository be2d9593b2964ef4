"""A Ray that is started while a plan is made: whoever takes it has it, and else nothing of it
stays."""

import threading
import time

import pytest
from driving import wait_for

from harness.engine import ray_private
from harness.engine.ahead import Ahead, closing


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was called to end a Ray."""
    called: list[str] = []
    monkeypatch.setattr("ray.shutdown", lambda: called.append("shutdown"))
    monkeypatch.setattr(ray_private, "end_processes_at_once", lambda: called.append("at once"))
    monkeypatch.setattr(ray_private, "forget_shutdown", lambda: called.append("forgotten"))
    return called


def test_it_is_there_once_it_was_taken_and_its_thread_stays_until_the_end(ended: list[str]):
    started = threading.Event()
    threads: list[threading.Thread] = []

    def connect() -> None:
        threads.append(threading.current_thread())
        time.sleep(0.1)
        started.set()

    with closing(Ahead(connect)) as ahead:
        assert ahead is not None
        ahead.take()
        assert started.is_set()
        assert threads[0].is_alive(), "Ray's processes end with the thread that started them"
    assert not threads[0].is_alive()
    assert not ended, "who took it shuts it down"


def test_what_went_wrong_is_said_to_who_takes_it(ended: list[str]):
    def connect() -> None:
        raise OSError("no memory")

    with closing(Ahead(connect)) as ahead:
        assert ahead is not None
        with pytest.raises(OSError, match="no memory"):
            ahead.take()
    assert not ended


@pytest.mark.parametrize("error", [None, ValueError])
def test_one_that_nobody_took_is_ended(ended: list[str], error: type[Exception] | None):
    started = threading.Event()
    try:
        with closing(Ahead(lambda: (time.sleep(0.1), started.set())[1])):
            if error is not None:
                raise error
    except ValueError:
        assert error is ValueError
    assert started.is_set(), "one that is half started can't be ended"
    assert ended == ["at once", "shutdown"]


def test_an_interrupted_run_doesnt_wait_long(ended: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("harness.engine.ahead.PATIENCE", 0.1)
    slow = threading.Event()
    with (
        pytest.raises(KeyboardInterrupt),
        closing(Ahead(lambda: (slow.wait(60), None)[1])) as ahead,
    ):
        raise KeyboardInterrupt
    assert ended == ["forgotten"]
    slow.set()
    assert ahead is not None
    wait_for(lambda: not ahead._thread.is_alive(), seconds=30)
    assert ended == ["forgotten", "at once", "shutdown"], "later, by itself"
