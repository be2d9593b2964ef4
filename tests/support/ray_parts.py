"""A program that tries, on a Ray of its own, each part of Ray that isn't public and is used all the
same. Prints one JSON object: by part, the traceback of what is no longer so, or "".

In a process of its own, since Ray leaves files and processes open to its end.
"""

import json
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray._private import worker
from ray.tune.schedulers import FIFOScheduler

from harness.engine import ray_private
from harness.engine.cluster import answers


@ray.remote(num_cpus=0)
class Actor:
    def node(self) -> str:
        return ray.get_runtime_context().get_node_id()

    def leave(self, key: str) -> None:
        ray_private.put(key, "hung: no batch")


def temp_dir() -> None:
    assert list(Path(FOLDER).glob("session_*"))


def internal_kv() -> None:
    """A word that a worker leaves outlives it."""
    actor: Any = Actor.remote()
    ray.get(actor.leave.remote("vpt-harness/test"))
    ray.kill(actor)
    assert ray_private.get("vpt-harness/test") == "hung: no batch"
    assert ray_private.get("vpt-harness/other") is None


def state_actors() -> None:
    actor: Any = Actor.remote()
    node = ray.get(actor.node.remote())
    assert ray_private.node_of(actor._actor_id.hex()) == node
    assert ray_private.node_of("0" * 32) is None


def http2_preface() -> None:
    assert answers(ray.get_runtime_context().gcs_address, ray_private.HELLO)


def tune_controller() -> None:
    """Tune tells a scheduler which trials have an actor, and what ended one."""
    seen: dict[str, Any] = {}
    idle = object()  # a trial that Tune has never seen

    class Watching(FIFOScheduler):
        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict) -> str:
            for name, trials in {"running": [trial], "both": [trial, idle]}.items():
                seen[name] = ray_private.first_without_worker(tune_controller, trials)
            return super().on_trial_result(tune_controller, trial, result)

        def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
            seen["error"] = ray_private.error_of(trial)

    class Once(tune.Trainable):
        def step(self) -> dict:
            if self.iteration:
                raise ValueError("the second step")
            return {"done": False}

    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            Once,
            tune_config=tune.TuneConfig(scheduler=Watching(), num_samples=1),
            run_config=tune.RunConfig(
                storage_path=folder,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    assert seen["running"] is None
    assert seen["both"] is idle
    assert "the second step" in str(seen["error"])


def dead_processes() -> None:
    """Raylet and head node are known by these names; whether one is dead is seen at once."""
    node = worker._global_node
    assert node is not None
    assert {"raylet", "gcs_server"} <= node.all_processes.keys()
    assert not ray_private.has_dead_processes()
    process = node.all_processes["raylet"][0].process
    process.kill()
    process.wait()
    assert ray_private.has_dead_processes()


def kill_all_processes() -> None:
    """After the raylet's death: Ray ends the rest without a word, and quickly."""
    node: Any = worker._global_node
    assert node is not None
    processes = [info.process for infos in node.all_processes.values() for info in infos]
    ray_private.end_processes_at_once()
    patched, started = node.kill_all_processes, time.monotonic()
    called: list[bool] = []
    node.kill_all_processes = lambda *args, **kw: (called.append(True), patched(*args, **kw))
    ray.shutdown()
    assert called
    assert time.monotonic() - started < 5
    assert all(process.wait(5) is not None for process in processes)


PARTS: list[Callable[[], None]] = [
    temp_dir,
    internal_kv,
    state_actors,
    http2_preface,
    tune_controller,
    dead_processes,
    kill_all_processes,  # in this order: the last two end this Ray
]


def tried(part: Callable[[], None]) -> str:
    try:
        part()
    except Exception:
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    os.environ.update(ray_private.ENVIRONMENT)
    with tempfile.TemporaryDirectory(
        prefix="ray-", dir="/tmp", ignore_cleanup_errors=True
    ) as FOLDER:
        ray.init(
            "local",
            num_cpus=1,
            include_dashboard=False,
            log_to_driver=False,
            **{ray_private.TEMP_DIR: FOLDER},  # type: ignore[arg-type]
        )
        print("\n" + json.dumps({part.__name__: tried(part) for part in PARTS}))
