"""A run: takes a plan and fills a store. One Ray Tune experiment serves all cells, for tuning and
final runs alike."""

import contextlib
import math
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.engine.ahead import Ahead
from harness.engine.events import Events, Traces
from harness.engine.progress import ProgressView
from harness.engine.ray_session import LOST, connected
from harness.engine.resources import Resources
from harness.engine.scheduler import LEASE, Scheduler
from harness.engine.signals import Interrupted, Interrupts, RayDied
from harness.errors import BadInput
from harness.planning.arithmetic import may_have_gpus
from harness.planning.plan import RunPlan
from harness.store import Store

if TYPE_CHECKING:
    from harness.inference.checkpoint_files import Keep

RESTARTS = 3
"""How often in a row Ray may die before anything is finished."""

EXPERIMENT, JOBS_EACH = 5000, 100
"""Jobs of one Tune experiment, or for each worker if that is more: Tune keeps what it knows of
every trial, some 30 KiB, until its experiment ends, and at its end all workers wait for the
slowest."""


def run(
    plan: RunPlan,
    store: Store,
    resources: Resources,
    view: ProgressView,
    traces: Traces | None = None,
    interrupts: Interrupts | None = None,
    ahead: Ahead | None = None,
) -> Scheduler:
    """Fills every cell of `plan`. Whatever finishes is in `store` at once; it can be interrupted
    anywhere and called again. Raises `BadInput`.

    Final runs save their checkpoints next to the store; `traces` says what else is written.
    `interrupts`: those that the caller has entered; if our own Ray dies, it is then restarted.
    `ahead`: a Ray that is being started, by `starting_ahead`.
    """
    traces = traces or Traces()
    events = traces.events()
    with _logging_the_end(events):
        return _run_to_the_end(
            plan, store, resources, view, traces.keep_large, interrupts, events, ahead
        )


def _run_to_the_end(
    plan: RunPlan,
    store: Store,
    resources: Resources,
    view: ProgressView,
    keep_large: bool,
    interrupts: Interrupts | None,
    events: Events,
    ahead: Ahead | None,
) -> Scheduler:
    """Restarts Ray if it dies, until nothing is left."""
    fruitless = 0
    hours = math.inf if resources.max_hours is None else resources.max_hours
    deadline = time.monotonic() + 3600 * hours
    while True:
        scheduler = Scheduler(plan, store, events=events, deadline=deadline)
        view.show(scheduler, plan)
        if scheduler.finished:
            scheduler.end()
            return scheduler
        before = store.state()
        try:
            _fill(scheduler, plan, store, resources, view, keep_large, interrupts, ahead)
            scheduler.end()
            return scheduler
        except RayDied:
            if resources.cluster:
                raise BadInput(LOST.format(resources.cluster)) from None
            events.emit("restarted", reason="a process of Ray died")
            fruitless = fruitless + 1 if store.state() == before else 0
            if fruitless == RESTARTS:
                raise BadInput(
                    f"Ray died {RESTARTS} times on this machine before anything was finished: is"
                    " its memory, or the space in /tmp, used up?"
                ) from None
            view.stage("a process of Ray died: restarting it")
            ahead = None
        finally:
            scheduler.close()


@contextlib.contextmanager
def _logging_the_end(events: Events) -> Iterator[None]:
    """Emits an event when a run ends before its work is done."""
    try:
        yield
    except Interrupted as signal:
        events.emit("interrupted", signal=str(signal))
        raise
    except BadInput as error:
        events.emit("stopped", reason=str(error))
        raise


def _fill(
    scheduler: Scheduler,
    plan: RunPlan,
    store: Store,
    resources: Resources,
    view: ProgressView,
    keep_large: bool,
    interrupts: Interrupts | None,
    ahead: Ahead | None = None,
) -> None:
    """One Ray, and Tune experiments one after the other, until the scheduler is finished."""
    store.check_writable()
    view.stage("starting Ray")
    with connected(resources, interrupts, ahead) as (workers, threads, per_trial):
        view.show_workers(workers)
        if note := slower_than_need_be(plan, per_trial):
            view.print_line(note)
        scheduler.start(workers)
        store.add_cells(cell.cell for cell in scheduler.cells)
        import ray
        from ray import tune

        from harness.engine.broadcast import Broadcast
        from harness.engine.cluster import room
        from harness.engine.worker import TrialActor
        from harness.inference import checkpoint_files

        keep = checkpoint_files.Keep(store.checkpoints, keep_large)
        actor_arguments = {
            "plan": replace(plan, backbones=Broadcast(plan.backbones)),
            "threads": threads,
            "keep": keep,
            "timeout": resources.trial_timeout,
            "compile": resources.compile,
            "home": ray.get_runtime_context().get_node_id(),
        }
        trainable = tune.with_resources(
            tune.with_parameters(TrialActor, **actor_arguments), per_trial
        )
        wanted, now = (
            (resources.workers, partial(room, per_trial)) if resources.cluster else (None, None)
        )
        most = max(EXPERIMENT, JOBS_EACH * workers)
        with store.held_open(), _renewing(scheduler):
            while _experiment(trainable, scheduler, view, keep, wanted, now, most):
                pass
        # on one machine the view has printed it
        for line in view.warm_ups() if resources.cluster else ():
            view.print_line(line)


def _experiment(
    trainable: Any,
    scheduler: Scheduler,
    view: ProgressView,
    keep: "Keep",
    wanted: int | None,
    now: Callable[[], int] | None,
    most: int,
) -> bool:
    """Hands out at most so many jobs, in one Tune experiment. Returns whether more are left for
    another."""
    from ray import tune

    from harness.engine.cluster import TuneScheduler
    from harness.engine.tune import SchedulerSearcher, SchedulerStopper

    stopper, tune_scheduler = SchedulerStopper(scheduler), TuneScheduler()
    searcher = SchedulerSearcher(
        scheduler, stopper, view, keep, tune_scheduler, wanted, now, most=most
    )
    with tempfile.TemporaryDirectory(prefix="vpt-harness-") as scratch:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=tune_scheduler,
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="run",
                storage_path=scratch,
                stop=stopper,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
                # Tune's checkpoints need a folder that all machines share
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        view.stage("starting workers")
        tuner.fit()
    if stopper.fault is not None:
        raise stopper.fault
    return searcher.spent and not scheduler.finished


def slower_than_need_be(plan: RunPlan, per_trial: Mapping[str, float]) -> str | None:
    """Said where a cluster's jobs get GPUs, and a driver without one has planned for float32."""
    usual = any(
        cell.precision == "fp32" and not cell.inputs.get("precision") for cell in plan.cells
    )
    if not per_trial.get("gpu") or may_have_gpus() or not usual:
        return None
    return (
        "Jobs get GPUs, but compute in float32, since this machine has no GPU: --precision bf16 is"
        " faster there, and has results of its own."
    )


@contextlib.contextmanager
def _renewing(scheduler: Scheduler) -> Iterator[None]:
    """A thread that renews the leases, however long the main one waits for results."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(LEASE / 3):
            # the database is unreachable: nobody else can take them either
            with contextlib.suppress(BadInput):
                scheduler.renew()

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
