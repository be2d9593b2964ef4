"""Claim: the scheduler keeps up with a million trials, and its order of work keeps hundreds of
devices busy.

    python benchmarks/scale.py [--json] [--devices 1,8,64,512] [--trials 1000000] [--order all]
        [--driver 100000 --experiment 5000]

**The scheduler** on a store of a million trials and 100,000 final runs, a SQLite file filled
through
the store's public calls: starting up,
the next job (Optuna's part apart), taking a job's results, memory; in a process of its own. The
plan has 25,920 cells: 20,000 are done,
4,500 are tuned and lack their final runs, 1,000 are half tuned, and the rest wait.

**The order of work**, by the real scheduler, searcher, Optuna study and pruner on devices that only
take time (`simulator.py`): 24 tasks x 20
methods x 40 trials and 5 seeds under the default protocol, paces of methods between 0.5 and 2, a
job in fifty dies. Utilisation is held
against the lower bound of any schedule of the same jobs: all work over the devices, or the longest
chain, whichever is longer.
`--order all` also tries what was not chosen: the plan's order, and searches that are never, or
always, as wide as the devices.

**The whole driver** (`--driver`, about so many jobs), Ray and Tune included, with workers that only
pretend: memory and CPU time by job, in one Tune experiment and in several (`driver.py`); and the
live view: a frame in which everything is new, and one in which three cells have changed.

On two cores: about ten minutes; with `--order all` about half an hour.
"""

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice, product
from pathlib import Path
from typing import Any

import driver
import numpy as np
from rich.console import Console
from simulator import Cluster, comparison, figures

from harness.engine import policy, study
from harness.engine.cell import CellState
from harness.engine.grid import Grid
from harness.engine.jobs import FinalJob, Outcome
from harness.engine.policy import Policy
from harness.engine.scheduler import Scheduler
from harness.planning.plan import RunPlan
from harness.store import Result, Store, Trial, result_id

METHODS, SETTINGS, TRIALS = 20, 54, 40
DONE, TUNED, HALF = 20_000, 4_500, 1_000
JOBS, FINALS, AT_ONCE = 5000, 500, 8
"""Asked for where the scheduler is measured, the first few of them final runs; and how many are in
flight."""


class Narrow(Policy):
    """The order that was chosen, but a search is never wider than it likes, short of idle
    devices."""

    def few(self, cell: CellState) -> int:
        return max(1, cell.planned.trials // 5)


class PlanOrder(Narrow):
    """Cells in the plan's order, searches of a fifth of their trials at once, no probes: what the
    scheduler did at first."""

    def arranged(self, cells):
        return list(cells)

    def learns(self, cells) -> bool:
        return False


class Wide(Policy):
    """As wide as there are devices: nothing is learned, nothing pruned in time."""

    def few(self, cell: CellState) -> int:
        return cell.planned.trials


ORDERS: dict[str, type[Policy]] = {
    "chosen": Policy,
    "plan": PlanOrder,
    "narrow": Narrow,
    "wide": Wide,
}


def simulated(devices: int, name: str) -> dict[str, Any]:
    started = time.perf_counter()
    found = figures(Cluster(comparison(20, TRIALS), devices, ORDERS[name]).run())
    return {"order": name, **found, "simulated_in_seconds": time.perf_counter() - started}


def fill(store: Store, plan: RunPlan, trials: int) -> dict[str, int]:
    """A run of `plan` that is nearly done: about `trials` trials."""
    share, made = trials / 1_000_000, {"trials": 0, "results": 0}
    done, tuned, half = (int(n * share) for n in (DONE, TUNED, HALF))
    draw = np.random.default_rng(0)
    store.add_cells(cell.cell for cell in plan.cells)
    curve = {epoch: 50.0 + epoch / 10 for epoch in range(40, 101, 10)}

    def rows() -> Iterator[tuple[list[Trial], list[Result]]]:
        for number, cell in enumerate(plan.cells[: done + tuned + half]):
            many = TRIALS if number < done + tuned else TRIALS // 2
            prompts = {"prompts": 10} if "prompts" in cell.space else {}
            points = [
                {"base_lr": float(10**power), "weight_decay": 0.01, **prompts}
                for power in draw.uniform(-1, 1.5, many)
            ]
            pruned = draw.random(many) < 0.4
            yield (
                [
                    Trial(
                        cell.key,
                        n,
                        point,
                        "pruned" if cut else "complete",
                        None if cut else 60 + n / 10,
                        curve,
                        None,
                        9.0,
                        2e5,
                        {},
                    )
                    for n, (point, cut) in enumerate(zip(points, pruned, strict=True))
                ],
                [
                    Result(
                        result_id(cell.key, seed),
                        cell.key,
                        seed,
                        points[0],
                        70.0,
                        1,
                        1,
                        "a" * 64,
                        9.0,
                        1,
                        2e5,
                        {100: 70.0},
                        {},
                        "2026",
                    )
                    for seed in (cell.seeds if number < done else ())
                ],
            )

    rest = rows()
    while some := list(islice(rest, 500)):
        trials_of, results_of = (
            [row for part, _ in some for row in part],
            [row for _, part in some for row in part],
        )
        store.add([], trials_of, results_of)
        made["trials"] += len(trials_of)
        made["results"] += len(results_of)
    return made


class Clock:
    """Adds up the seconds of calls within it, by name."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}

    def timed(self, name: str, call: Callable) -> Callable:
        def around(*arguments, **more):
            started = time.perf_counter()
            try:
                return call(*arguments, **more)
            finally:
                self.taken.setdefault(name, []).append(time.perf_counter() - started)

        return around

    def optuna(self) -> float:
        """Seconds in its studies so far."""
        return sum(self.taken.get("ask", [])) + sum(self.taken.get("rebuild", []))


def ledger_figures(file: Path) -> dict[str, float]:
    """In a process of its own, so that memory is the scheduler's."""
    plan, clock = comparison(METHODS, TRIALS, SETTINGS), Clock()
    store = Store(file)
    started = time.perf_counter()
    scheduler = Scheduler(plan, store)
    startup = time.perf_counter() - started
    started = time.perf_counter()
    store.add_cells(cell.cell for cell in plan.cells)
    adding = time.perf_counter() - started
    search = study.CellSearch
    search.ask = clock.timed("ask", search.ask)
    search.__init__ = clock.timed("rebuild", search.__init__)
    store.lease = clock.timed("lease", store.lease)
    scheduler.order.devices = AT_ONCE
    draw, nexts, kinds, in_flight = np.random.default_rng(1), [], Counter(), deque()
    with store.held_open():
        for number in range(JOBS):
            # the rest from searches: a resume finds few cells that lack nothing but final runs
            if number == FINALS:
                for cell in scheduler.cells:
                    if cell.tuned and not cell.finished and not cell.running:
                        cell.elsewhere = True
                        scheduler.order.update(cell)
            before, started = clock.optuna(), time.perf_counter()
            job = scheduler.next(f"{number}")
            nexts.append(time.perf_counter() - started - (clock.optuna() - before))
            assert job is not None
            kinds[type(job)] += 1
            in_flight.append((f"{number}", job))
            if len(in_flight) == AT_ONCE:
                name, job = in_flight.popleft()
                outcome = Outcome(
                    float(draw.uniform(50, 80)),
                    {100: 1.0},
                    9.0,
                    2e5,
                    trainable=1,
                    head_params=1,
                    logits_sha256="a" * 64,
                )
                clock.timed("finish", scheduler.finish)(name, [outcome] * job.runs)

    def ms(times: list[float], q: float) -> float:
        return float(np.percentile(times, q)) * 1000 if times else 0.0

    return {
        "startup_seconds": startup,
        "cells_added_again_seconds": adding,
        "next_ms_median": ms(nexts, 50),
        "next_ms_p95": ms(nexts, 95),
        "next_ms_max": ms(nexts, 100),
        "optuna_ask_ms_median": ms(clock.taken["ask"], 50),
        "optuna_ask_ms_p95": ms(clock.taken["ask"], 95),
        "study_rebuilt_ms_p95": ms(clock.taken["rebuild"], 95),
        "finish_ms_median": ms(clock.taken["finish"], 50),
        "finish_ms_p95": ms(clock.taken["finish"], 95),
        "cells_leased": len(clock.taken["lease"]),
        "lease_ms_p95": ms(clock.taken["lease"], 95),
        "jobs": JOBS,
        "final_jobs": kinds[FinalJob],
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measured_ledger(trials: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        file, started = Path(folder) / "large.db", time.perf_counter()
        made = fill(Store(file), comparison(METHODS, TRIALS, SETTINGS), trials)
        filled = time.perf_counter() - started
        command = [sys.executable, __file__, "--store", str(file)]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        if said.returncode:
            raise SystemExit(said.stderr)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        return {
            **made,
            "cells": METHODS * SETTINGS * 24,
            "file_mib": size / 2**20,
            "filled_in_seconds": filled,
            **json.loads(said.stdout),
        }


def frames(cells: int) -> dict[str, float]:
    """CPU milliseconds of frames of a live view of so many cells: of the grid's lines, as a
    terminal gets them."""
    plan = comparison(cells // 24, TRIALS)
    store = Store("sqlite://")
    scheduler = Scheduler(plan, store)
    console = Console(file=io.StringIO(), force_terminal=True, width=200, height=50)

    def spent(grid: Grid) -> float:
        started = time.process_time()
        console.print(*grid.lines(console.height), sep="\n")
        return (time.process_time() - started) * 1000

    grid = Grid(scheduler.cells, plan.variants, plan.tasks, console.width)
    new, changed = [], []
    for number in range(15):
        new.append(spent(Grid(scheduler.cells, plan.variants, plan.tasks, console.width)))
        spent(grid)
        for cell in scheduler.cells[number :: len(scheduler.cells) // 3]:
            cell.changes += 1
        changed.append(spent(grid))
    median = {"new_ms": float(np.median(new)), "changed_ms": float(np.median(changed))}
    return {"cells": cells, **median, "ratio": median["new_ms"] / median["changed_ms"]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--devices", default="1,8,64,512", help="simulated; empty: none")
    parser.add_argument(
        "--trials",
        type=int,
        default=1_000_000,
        help="in the scheduler's store; 0: leave the scheduler out",
    )
    parser.add_argument(
        "--driver", type=int, default=0, help="jobs of a run with the whole driver; 0: none"
    )
    parser.add_argument("--experiment", type=int, default=5000, help="most jobs in one of Tune's")
    parser.add_argument("--order", choices=["chosen", "all"], default="chosen")
    parser.add_argument("--slack", type=float, default=policy.SLACK)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.store:
        print(json.dumps(ledger_figures(given.store)))
        return
    policy.SLACK = given.slack
    found: dict[str, Any] = {"scheduler": measured_ledger(given.trials)} if given.trials else {}
    names = list(ORDERS) if given.order == "all" else ["chosen"]
    wanted = list(product((int(n) for n in given.devices.split(",") if n), names))
    if wanted:
        with ProcessPoolExecutor(2) as pool:
            found["simulated"] = list(pool.map(simulated, *zip(*wanted, strict=True)))
    if given.driver:
        found["driver"] = driver.measured(given.driver, given.experiment)
        found["frames"] = [frames(cells) for cells in (480, 25_920)]
    if given.json:
        print(json.dumps(found))
        return
    for name, side in found.get("driver", {}).items():
        shown = {key: value for key, value in side.items() if not isinstance(value, list)}
        print(f"{name}: " + ", ".join(f"{key} {value:,.2f}" for key, value in shown.items()))
    for row in found.get("frames", []):
        print(", ".join(f"{key} {value:,.1f}" for key, value in row.items()))
    for name, value in found.get("scheduler", {}).items():
        print(f"{name}: {value:,.2f}" if isinstance(value, float) else f"{name}: {value:,}")
    for row in found.get("simulated", []):
        days = row["makespan"] / 86400
        print(
            f"{row['devices']} devices, {row['order']} order: {row['of_the_bound']:.3f} of the"
            f" bound, makespan {days:.1f} days"
        )


if __name__ == "__main__":
    main()
