"""Whatever process dies, at most the trials in flight are lost, and nothing is done twice: real processes, real signals.

One test is part of `make test`; all of them of `make test-faults`.
"""

import os
import signal
import time

import pytest
from driving import alive, below, ended_points, finish, kill, outage, part_of_ray, parts_of_ray, rows, start, wait_for, workers

from harness.orchestrate.run import STUCK
from harness.store import Store

pytestmark = pytest.mark.timeout(600)
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


def kept_and_gone_on(tiny, again, before: list) -> None:
    """The same command, started again: what was stored is as it was, and the rest is filled in."""
    finish(again)
    after = Store(tiny.store).trials()
    assert [trial for trial in after if trial in before] == before
    whole(tiny)


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


@pytest.mark.slow
def test_kill_9_of_the_driver_costs_the_trials_in_flight(grid):
    process = begin(grid)
    training = workers(process)
    with outage("kill -9 of the driver, and the same command", grid.store):
        process.kill()
        process.wait()
        wait_for(lambda: not [pid for pid in training if alive(pid)], seconds=60)
        before = Store(grid.store).trials()
        assert all(trial.state != "failed" for trial in before)
        again = command(grid)
    kept_and_gone_on(grid, again, before)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["raylet", "gcs_server"])
def test_kill_9_of_ray_costs_the_trials_in_flight_and_the_run_goes_on(grid, part: str):
    """By itself; or, where the driver was in a call to Ray that nothing breaks, by the same command, as it says."""
    process = begin(grid)
    with outage(f"kill -9 of {part}", grid.store):
        kill(part_of_ray(process, part))
        wait_for(lambda: process.poll() is not None or "died: starting it again" in process.output.read_text())
        again = command(grid) if process.poll() == 2 else None
    out = process.said(400)
    if again is not None:
        assert out.splitlines()[-1] == f"harness: {STUCK}"
        finish(again)
    else:
        assert process.returncode == 0, out
        assert "a process of Ray died: starting it again" in out
    whole(grid)
    assert sum(trial.state == "failed" for trial in Store(grid.store).trials()) <= WORKERS


@pytest.mark.slow
def test_kill_9_of_everything_at_once_costs_the_trials_in_flight(grid):
    process = begin(grid)
    with outage("kill -9 of everything, and the same command", grid.store):
        kill(process.pid, *below(process))
        process.wait()
        before = Store(grid.store).trials()
        again = command(grid)
    kept_and_gone_on(grid, again, before)


@pytest.mark.slow
def test_sigterm_to_the_whole_group_as_slurm_sends_it(grid):
    process = begin(grid)
    with outage("SIGTERM to the whole group, and the same command", grid.store):
        os.killpg(process.pid, signal.SIGTERM)
        out = process.said(60)
        assert process.returncode == 143, out
        assert "goes on from there" in out
        before = Store(grid.store).trials()
        again = command(grid)
    kept_and_gone_on(grid, again, before)


@pytest.mark.slow
def test_sigterm_while_ray_starts_and_has_the_signal_for_itself(grid):
    process = command(grid)
    wait_for(lambda: parts_of_ray(process, "gcs_server"))
    process.send_signal(signal.SIGTERM)
    out = process.said(60)
    assert process.returncode == 143, out
    assert "goes on from there" in out


@pytest.mark.slow
def test_ctrl_c_twice_ends_at_once(grid):
    process = begin(grid)
    with outage("Ctrl-C twice, and the same command", grid.store):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.wait(60)
        assert process.returncode == 130
        before = Store(grid.store).trials()
        again = command(grid)
    kept_and_gone_on(grid, again, before)
