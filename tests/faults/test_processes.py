"""Whatever process dies, at most the trials in flight are lost, and nothing is done twice: real
processes, real signals.

Part of `make test-faults`.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from driving import (
    alive,
    below,
    ended_points,
    finish,
    kill,
    outage,
    part_of_ray,
    parts_of_ray,
    rows,
    start,
    wait_for,
    workers,
)

from harness.engine.ray_session import STUCK
from harness.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
METHODS = "vpt-deep,ivpt"
WANTED = {(method, "toy", seed) for method in ("vpt-deep", "ivpt") for seed in (0, 1)}
WORKERS = 2


def well_under_way(tiny) -> bool:
    return len(Store(tiny.store).trials()) >= 4


def whole(tiny) -> None:
    """Every final run is there once, every point of both grids was tried once."""
    assert set(rows(tiny.store)) == WANTED
    assert Store(tiny.store).failures() == []
    tried = ended_points(tiny.store)
    assert len(tried) == 2 * 12
    assert set(tried.values()) == {1}


def command(tiny):
    return start(tiny, "--workers", str(WORKERS), methods=METHODS)


def begin(tiny):
    process = command(tiny)
    wait_for(lambda: well_under_way(tiny))
    return process


@contextmanager
def the_end_of_the_driver(tiny, fault: str) -> Iterator[None]:
    """Which its body brings about. The same command again: what was stored is as it was, and the
    rest is filled in."""
    with outage(f"{fault}, and the same command", tiny.store):
        yield
        before = Store(tiny.store).trials()
        again = command(tiny)
    finish(again)
    after = Store(tiny.store).trials()
    assert [trial for trial in after if trial in before] == before
    whole(tiny)


def ended_by_sigterm(process) -> None:
    out = process.said(60)
    assert process.returncode == 143, out
    assert "resumes" in out


def test_kill_9_of_a_worker_costs_its_trial_which_is_tried_again(grid):
    process = begin(grid)
    wait_for(lambda: workers(process))
    with outage("kill -9 of a worker", grid.store):
        kill(workers(process)[0])
    finish(process)
    whole(grid)
    failed = [trial for trial in Store(grid.store).trials() if trial.state == "failed"]
    assert len(failed) <= 1  # none where it was between two trials
    assert all("died" in (trial.reason or "") for trial in failed)


def test_kill_9_of_the_driver_costs_the_trials_in_flight(grid):
    process = begin(grid)
    training = workers(process)
    with the_end_of_the_driver(grid, "kill -9 of the driver"):
        process.kill()
        process.wait()
        wait_for(lambda: not [pid for pid in training if alive(pid)], seconds=60)
        assert all(trial.state != "failed" for trial in Store(grid.store).trials())


@pytest.mark.parametrize("part", ["raylet", "gcs_server"])
def test_kill_9_of_ray_costs_the_trials_in_flight_and_the_run_goes_on(grid, part: str):
    """By itself; or, where the driver was in a call to Ray that nothing breaks, by the same
    command, as it says."""
    process = begin(grid)
    with outage(f"kill -9 of {part}", grid.store):
        kill(part_of_ray(process, part))
        wait_for(
            lambda: (
                process.poll() is not None or "died: restarting it" in process.output.read_text()
            )
        )
        again = command(grid) if process.poll() == 2 else None
    out = process.said(400)
    if again is not None:
        assert out.splitlines()[-1] == f"harness: {STUCK}"
        finish(again)
    else:
        assert process.returncode == 0, out
        assert "a process of Ray died: restarting it" in out
    whole(grid)
    assert sum(trial.state == "failed" for trial in Store(grid.store).trials()) <= WORKERS


def test_kill_9_of_everything_at_once_costs_the_trials_in_flight(grid):
    process = begin(grid)
    with the_end_of_the_driver(grid, "kill -9 of everything"):
        kill(process.pid, *below(process))
        process.wait()


def test_sigterm_to_the_whole_group_as_slurm_sends_it(grid):
    process = begin(grid)
    with the_end_of_the_driver(grid, "SIGTERM to the whole group"):
        os.killpg(process.pid, signal.SIGTERM)
        ended_by_sigterm(process)


def test_sigterm_while_ray_starts_and_has_the_signal_for_itself(grid):
    process = command(grid)
    wait_for(lambda: parts_of_ray(process, "gcs_server"))
    process.send_signal(signal.SIGTERM)
    ended_by_sigterm(process)


def test_ctrl_c_twice_ends_at_once(grid):
    process = begin(grid)
    with the_end_of_the_driver(grid, "Ctrl-C twice"):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.wait(60)
        assert process.returncode == 130
