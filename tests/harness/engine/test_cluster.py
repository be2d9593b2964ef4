"""What a cluster means to a run, without one: how many jobs fit, what counts as a try, what is
said. With several nodes: tests/faults."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.tune.experiment import Trial
from rich.console import Console

from harness.engine import ray_session
from harness.engine.cluster import TuneScheduler, fits
from harness.engine.jobs import NODE, FinalJob, Outcome, TuneJob
from harness.engine.progress import ProgressView
from harness.engine.resources import Resources
from harness.engine.scheduler import Scheduler
from harness.engine.worker import sent_back
from harness.errors import BadInput
from harness.planning.plan import RunPlan, plan
from harness.store import Store


@pytest.mark.parametrize(
    ("node", "per_trial", "jobs"),
    [
        ({"CPU": 8.0}, {"cpu": 1.0}, 8),
        ({"CPU": 8.0, "GPU": 1.0}, {"cpu": 1.0, "gpu": 0.25}, 4),
        ({"CPU": 2.0, "GPU": 1.0}, {"cpu": 1.0, "gpu": 0.25}, 2),
        ({"CPU": 8.0}, {"cpu": 1.0, "gpu": 0.25}, 0),
        ({"CPU": 8.0, "GPU": 1.0}, {"cpu": 1.0, "gpu": 0.1}, 8),
        ({"CPU": 80.0, "GPU": 3.0}, {"cpu": 1.0, "gpu": 0.1}, 30),
        ({"CPU": 80.0, "GPU": 3.0}, {"cpu": 1.0, "gpu": 2.0}, 1),
        ({}, {"cpu": 1.0}, 0),
    ],
)
def test_jobs_that_fit_on_a_node(node: dict, per_trial: dict, jobs: int):
    assert fits(node, per_trial) == jobs


@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "http://127.0.0.1:8265"])
def test_an_address_that_is_not_a_node_s_is_refused(address: str):
    with pytest.raises(BadInput, match="ray job submit"):
        Resources(address=address)


def test_local_is_a_private_ray_whatever_the_environment_says():
    assert Resources(address="local").cluster is None
    assert Resources().cluster is None
    assert Resources(address="auto").cluster == "auto"


def test_a_job_whose_node_is_lost_is_tried_again_however_often(tiny):
    scheduler = made(tiny)
    for number in range(5):
        job = scheduler.next(f"{number}")
        assert isinstance(job, TuneJob)
        scheduler.lose(f"{number}", f"{NODE} left the cluster")
    trials = [scheduler.next(f"t{number}") for number in range(2)]
    assert all(isinstance(job, TuneJob) for job in trials)
    for number in range(2):
        scheduler.finish(f"t{number}", [Outcome(50.0, {}, 1.0, 1.0)])
    for number in range(5):
        job = scheduler.next(f"f{number}")
        assert isinstance(job, FinalJob)
        assert job.seeds == (0,)
        scheduler.lose(f"f{number}", f"{NODE} left the cluster")
    assert scheduler.store.failures() == []
    states = [trial.state for trial in scheduler.store.trials()]
    assert sorted(states) == ["complete"] * 2 + ["failed"] * 5


def test_a_free_worker_takes_a_trial_that_has_none_and_not_one_whose_worker_is_starting():
    scheduler = TuneScheduler()
    starting, waiting, running = (
        StandIn(status) for status in (Trial.PENDING, Trial.PENDING, Trial.RUNNING)
    )
    workers = {starting: "started", waiting: "wants a place", running: "started"}
    tune = SimpleNamespace(
        _trial_to_actor=workers, _actor_manager=SimpleNamespace(is_actor_started="started".__eq__)
    )
    for trial in (starting, waiting, running):
        scheduler.on_trial_add(tune, trial)  # type: ignore[arg-type]
    assert scheduler.choose_trial_to_run(tune) is waiting
    waiting.status = Trial.RUNNING
    assert scheduler.choose_trial_to_run(tune) is None


class StandIn:
    """Of a trial: all that the scheduler looks at."""

    def __init__(self, status: str):
        self.status = status


def test_checkpoints_leave_the_worker_s_disk_for_the_driver_s(tmp_path: Path):
    file = tmp_path / "abc.safetensors"
    file.write_bytes(b"tuned")
    with_file = Outcome(1.0, {}, 1.0, 1.0, provenance={"checkpoint": str(file), "device": "cpu"})
    without = Outcome(
        1.0, {}, 1.0, 1.0, provenance={"no_checkpoint": "400 MB, and --keep-large wasn't given"}
    )
    outcomes, files = sent_back([with_file, without])
    assert files == {"abc.safetensors": b"tuned"}
    assert outcomes[0].provenance == {"checkpoint": "abc.safetensors", "device": "cpu"}
    assert outcomes[1] == without
    assert not file.exists()


def test_what_was_warmed_up_is_said_by_node():
    view = ProgressView(Console(file=io.StringIO()))
    view.warmed("10.0.0.2/b", ["svhn train", "svhn val"], ["vit"])
    view.warmed("10.0.0.1/a", ["svhn train"], [])
    view.warmed("10.0.0.2/b", ["svhn test"], [])
    view.warmed("10.0.0.3/c", [], [])
    assert view.warm_ups() == [
        "Warmed up 10.0.0.1/a: 1 split decoded.",
        "Warmed up 10.0.0.2/b: 3 splits decoded, vit fetched 1 x.",
    ]


def made(tiny) -> Scheduler:
    run: RunPlan = plan(tiny.request("vpt-deep", seeds=(0,)))
    store = Store(tiny.store)
    store.add_cells(cell.cell for cell in run.cells)
    return Scheduler(run, store)


def test_a_ray_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def slow(*_: Any, **__: Any) -> None:
        raise Exception("The current node timed out\nduring startup.")

    monkeypatch.setattr(ray, "init", slow)
    with pytest.raises(BadInput) as told:
        ray_session._connect("local")
    assert str(told.value).startswith(
        "Ray couldn't be started on this machine (The current node timed out during startup.). Is"
    )
    assert "\n" not in str(told.value)
