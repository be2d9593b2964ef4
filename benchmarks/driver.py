"""The whole driver of a run, Ray Tune included, with workers that only pretend: memory and CPU
time by trial, in one Tune experiment and in several. `scale.py --driver` runs it.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune
from rich.console import Console
from simulator import comparison

from harness.engine import run as engine
from harness.engine import worker
from harness.engine.jobs import Outcome, TuneJob, parse
from harness.engine.progress import ProgressView
from harness.engine.resources import Resources
from harness.engine.tune import SchedulerSearcher
from harness.planning.plan import RunPlan
from harness.store import Store

READINGS = 10
"""Intermediate scores of a trial."""
TRIALS = 10
"""Of a search, by five final runs."""
WORKERS = 2


class Pretender(tune.Trainable):
    """Gives the results of a job at once, without training."""

    def setup(self, config: dict, plan: RunPlan, **_: Any) -> None:
        self.plan = plan
        self.reset_config(config)

    def reset_config(self, new_config: dict) -> bool:
        self.job, self.number = parse(new_config["job"]), 0
        return True

    def step(self) -> dict:
        self.number += 1
        if isinstance(self.job, TuneJob) and self.job.runs == 1 and self.number <= READINGS:
            value = 50.0 + self.number + hash(str(self.job.points)) % 100 / 10
            report = {"epoch": self.number * 10, "value": value, "units": 1.0, "seconds": 1.0}
            return {"done": False, **report}
        outcome = Outcome(60.0, {100: 60.0}, 9.0, 2e5, None, 1, 1, "a" * 64)
        return {"done": True, "outcomes": json.dumps([asdict(outcome)] * self.job.runs)}

    def save_checkpoint(self, checkpoint_dir: str) -> None: ...

    def load_checkpoint(self, checkpoint: Any) -> None: ...


def resident() -> float:
    """MiB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def driven(jobs: int, experiment: int) -> dict[str, Any]:
    """A run of about so many jobs, in this process. `experiment`: how many at most in one of
    Tune's."""
    engine.EXPERIMENT, engine.JOBS_EACH = experiment, 0
    worker.TrialActor = Pretender  # type: ignore[misc, assignment]
    methods = 1 + max(1, round(jobs / (24 * (TRIALS + 5))))
    plan = comparison(methods, TRIALS)
    decisions: list[float] = []
    memory: list[tuple[int, float]] = []
    used: list[float] = []
    decide = SchedulerSearcher.suggest

    def timed(self: SchedulerSearcher, trial_id: str) -> Any:
        started = time.perf_counter()
        found = decide(self, trial_id)
        if isinstance(found, dict):
            decisions.append(time.perf_counter() - started)
            if len(decisions) % 100 == 0:
                gc.collect()
                memory.append((len(decisions), resident()))
                used.append(time.process_time())
        return found

    SchedulerSearcher.suggest = timed  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "driver.db")
        view = ProgressView(Console(quiet=True))
        scheduler = engine.run(plan, store, Resources(workers=WORKERS), view)
        assert scheduler.finished
        assert not scheduler.gaps
    at, resident_then = zip(*memory, strict=True)
    half = len(at) // 2  # the first ones import and warm up
    slope = np.polyfit(at[half:], resident_then[half:], 1)[0]
    return {
        "jobs": len(decisions),
        "threads": threading.active_count(),
        "mib_at_the_start": resident_then[0],
        "mib_at_the_end": resident_then[-1],
        "mib": resident_then[:: max(1, len(at) // 10)],
        "kib_a_job_of_the_second_half": float(slope) * 1024,
        "cpu_ms_a_job_of_the_second_half": 1000
        * (used[-1] - used[half])
        / max(1, at[-1] - at[half]),
        "decision_ms_p95": float(np.percentile(decisions, 95)) * 1000,
    }


def measured(jobs: int, experiment: int) -> dict[str, dict[str, Any]]:
    """Each side in a process of its own."""
    found = {}
    for name, most in (("one experiment", 10**9), (f"experiments of {experiment}", experiment)):
        command = [sys.executable, __file__, str(jobs), str(most)]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        if said.returncode:
            raise SystemExit(said.stderr)
        found[name] = json.loads(said.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    print(json.dumps(driven(int(sys.argv[1]), int(sys.argv[2]))))
