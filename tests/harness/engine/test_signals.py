"""Signals: what they raise, what they wait for, and that the process ends whatever it is in."""

import os
import signal
import subprocess
import sys
import time

import pytest

from harness.engine.signals import Interrupted, Interrupts, RayDied, held, watching

STUCK = """
import sqlite3, sys
from harness.engine import signals
signals.GRACE = float(sys.argv[1])
database = sqlite3.connect(":memory:")
with signals.Interrupts("all is well"):
    print("ready", flush=True)
    endless = "with recursive c(x) as (select 1 union all select x + 1 from c) select max(x) from c"
    database.execute(endless).fetchone()
"""
"""Deep in a library, where Python serves no signal."""


def stuck(grace: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, str(grace)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    return process


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_raised_with_its_exit_code(signum: int, code: int):
    before = signal.getsignal(signum)
    with Interrupts():
        with pytest.raises(Interrupted) as raised:
            signal.raise_signal(signum)
        assert raised.value.exit_code == code
    assert signal.getsignal(signum) is before


def test_what_is_being_stored_is_stored_first():
    done = []

    def store() -> None:
        with held(), held():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
            done.append("stored")

    with Interrupts(), pytest.raises(Interrupted):
        store()
    assert done == ["stored"]


def test_a_dead_ray_is_raised_where_the_run_is():
    with Interrupts():
        with pytest.raises(RayDied), watching(lambda: True):
            time.sleep(60)
        with watching(lambda: False):
            time.sleep(0.6)


def test_a_process_that_is_stuck_ends_all_the_same():
    process = stuck(grace=0.5)
    process.terminate()
    assert process.communicate(timeout=30)[0] == "\nall is well\n"
    assert process.returncode == 143


def test_the_second_ctrl_c_doesnt_wait():
    process = stuck(grace=1000)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[0] == "\nall is well\n"
    assert process.returncode == 130


def test_what_ray_made_a_plain_interrupt_of_is_known_again():
    def ray() -> None:
        with watching(lambda: False):
            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt:
                raise KeyboardInterrupt from None

    with Interrupts(), pytest.raises(Interrupted) as raised:
        ray()
    assert raised.value.exit_code == 143
