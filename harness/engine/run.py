"""A run: plan and store in, a filled store out. One Ray Tune experiment serves all cells, tuning
and final runs alike."""

import contextlib
import logging
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from harness.engine import ray_private
from harness.engine.events import Events, Traces
from harness.engine.progress import ProgressView
from harness.engine.scheduler import LEASE, Scheduler
from harness.engine.signals import Interrupted, Interrupts, RayDied, watching
from harness.errors import BadInput
from harness.io.cores import cores
from harness.io.resources import cache_dir
from harness.planning.plan import RunPlan
from harness.store import Store

RESTARTS = 3
"""Times in a row that Ray may die before anything is finished."""

LOST = (
    "the Ray cluster at {} is gone, or doesn't answer any more: its head node, or Ray on this"
    " machine. All that finished is stored; once it is back, the same command goes on from there."
)


LONGEST_FOLDER = 34
"""Bytes of a folder's name that leave room for what Ray adds, `/ray` among it."""

STUCK = (
    "a process of Ray died, and this one is stuck in a call to it. All that finished is stored: the"
    " same command goes on from there."
)


@dataclass(frozen=True)
class Resources:
    """Where to run: how many jobs at once, on what."""

    workers: int | None = None
    """Jobs at once on this machine; None: one a CPU core, or as many as fit the GPUs."""
    gpus_per_trial: float | None = None
    """None: 1 where there is a GPU, else 0."""
    address: str | None = None
    """Of a running Ray cluster that this process is on a node of; None or `local`: a private one on
    this machine, ended with the run."""
    trial_timeout: float = 3600.0
    """Seconds without a batch after which a job counts as hung; 0: never. Decoding a task's images
    for the first time has no batches."""

    def __post_init__(self) -> None:
        if self.address and "://" in self.address:
            raise BadInput(
                f"--address (or RAY_ADDRESS) {self.address} would put the driver outside the"
                " cluster, or is no node's HOST:PORT: run `ray job submit -- harness run ...` on"
                " it instead."
            )

    @property
    def cluster(self) -> str | None:
        """The address where it is another's Ray."""
        return None if self.address in (None, "", "local") else self.address


def run(
    plan: RunPlan,
    store: Store,
    resources: Resources,
    view: ProgressView,
    traces: Traces | None = None,
    interrupts: Interrupts | None = None,
) -> Scheduler:
    """Fills every cell of `plan`. All that finishes is in `store` at once; interrupt it anywhere
    and call it again. Raises `BadInput`.

    Final runs leave their checkpoints beside the store; `traces` says what else is left.
    `interrupts`: those that the caller has entered; a Ray of ours that dies is then started again.
    """
    traces = traces or Traces()
    events = traces.events()
    with _told(events):
        return _to_the_end(plan, store, resources, view, traces.keep_large, interrupts, events)


def _to_the_end(
    plan: RunPlan,
    store: Store,
    resources: Resources,
    view: ProgressView,
    keep_large: bool,
    interrupts: Interrupts | None,
    events: Events,
) -> Scheduler:
    """A Ray after the other, should they die, until nothing is left."""
    fruitless = 0
    while True:
        scheduler = Scheduler(plan, store, events=events)
        view.show(scheduler, plan)
        if scheduler.finished:
            scheduler.end()
            return scheduler
        before = store.state()
        try:
            _fill(scheduler, plan, store, resources, view, keep_large, interrupts)
            scheduler.end()
            return scheduler
        except RayDied:
            if resources.cluster:
                raise BadInput(LOST.format(resources.cluster)) from None
            events.tell("restarted", reason="a process of Ray died")
            fruitless = fruitless + 1 if store.state() == before else 0
            if fruitless == RESTARTS:
                raise BadInput(
                    f"Ray died {RESTARTS} times on this machine before anything was finished: is"
                    " its memory, or room in /tmp, used up?"
                ) from None
            view.stage("a process of Ray died: starting it again")
        finally:
            scheduler.close()


@contextlib.contextmanager
def _told(events: Events) -> Iterator[None]:
    """What ends a run before its work is done is an event too."""
    try:
        yield
    except Interrupted as signal:
        events.tell("interrupted", signal=str(signal))
        raise
    except BadInput as error:
        events.tell("stopped", reason=str(error))
        raise


def _fill(
    scheduler: Scheduler,
    plan: RunPlan,
    store: Store,
    resources: Resources,
    view: ProgressView,
    keep_large: bool,
    interrupts: Interrupts | None,
) -> None:
    """One Ray and one Tune experiment, to the end of the scheduler."""
    view.stage("starting Ray")
    with _ray(resources, interrupts) as (workers, threads, per_trial):
        view.show_workers(workers)
        scheduler.start(workers)
        store.add_cells(cell.cell for cell in scheduler.cells)
        import ray
        from ray import tune

        from harness.engine.broadcast import Broadcast
        from harness.engine.cluster import TuneScheduler, room
        from harness.engine.tune import SchedulerSearcher, SchedulerStopper
        from harness.engine.worker import TrialActor
        from harness.inference import checkpoint

        keep = checkpoint.Keep(checkpoint.folder_of(store), keep_large)
        stopper, tune_scheduler = SchedulerStopper(scheduler), TuneScheduler()
        wanted, now = (
            (resources.workers, partial(room, per_trial)) if resources.cluster else (None, None)
        )
        given = {
            "plan": replace(plan, backbones=Broadcast(plan.backbones)),
            "threads": threads,
            "keep": keep,
            "timeout": resources.trial_timeout,
            "home": ray.get_runtime_context().get_node_id(),
        }
        with tempfile.TemporaryDirectory(prefix="vpt-harness-") as scratch:
            tuner = tune.Tuner(
                tune.with_resources(tune.with_parameters(TrialActor, **given), per_trial),
                tune_config=tune.TuneConfig(
                    search_alg=SchedulerSearcher(
                        scheduler, stopper, view, keep, tune_scheduler, wanted, now
                    ),
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
                    # Tune's need a folder that all machines share
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            )
            view.stage("starting workers")
            with store.held_open(), _renewing(scheduler):
                tuner.fit()
            if stopper.fault is not None:
                raise stopper.fault
            # on one machine the view has said it
            for line in view.warm_ups() if resources.cluster else ():
                view.tell(line)


@contextlib.contextmanager
def _renewing(scheduler: Scheduler) -> Iterator[None]:
    """A thread that keeps the leases, however long the main one waits for results."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(LEASE / 3):
            # the database is away: nobody else can take them either
            with contextlib.suppress(BadInput):
                scheduler.renew()

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


@contextlib.contextmanager
def _ray(
    resources: Resources, interrupts: Interrupts | None
) -> Iterator[tuple[int, int | dict[str, float], dict[str, float]]]:
    """A Ray to run on: (jobs at once, a worker's threads, resources a job). On a cluster, a worker
    has its node's cores to share.

    Quiet: its logs and warnings stay out of the view.
    """
    os.environ.update(ray_private.ENVIRONMENT, VPT_HARNESS_CACHE=str(cache_dir().absolute()))
    import ray
    import torch

    from harness.engine.cluster import Lost, room

    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    ends_process = interrupts is not None and interrupts.ends_process
    here = cores()
    gpus = torch.cuda.device_count()
    per_gpu = (
        resources.gpus_per_trial
        if resources.gpus_per_trial is not None
        else (1.0 if gpus or resources.cluster else 0.0)
    )
    workers = resources.workers or (max(1, int(gpus / per_gpu)) if gpus and per_gpu else here)
    ended = contextlib.ExitStack()
    try:
        with _sigterm_is_ours(interrupts):
            if resources.cluster:
                _connect(resources.cluster)
            else:
                _connect(
                    "local",
                    num_cpus=workers,
                    num_gpus=gpus,
                    include_dashboard=False,
                    **{ray_private.TEMP_DIR: ended.enter_context(_short_folder())},
                )
        if (
            resources.cluster
            and resources.gpus_per_trial is None
            and not ray.cluster_resources().get("GPU")
        ):
            per_gpu = 0.0
        per_trial = {"cpu": 1.0, "gpu": per_gpu} if per_gpu else {"cpu": 1.0}
        at_once = room(per_trial)
        if at_once < 1:
            raise BadInput(
                f"no node has room for a trial of {per_trial}: all together have"
                f" {_described(ray.cluster_resources())}."
            )
        if resources.cluster:
            at_once = min(at_once, resources.workers or at_once)
        if resources.cluster:
            last = f"harness: {LOST.format(resources.cluster)}" if ends_process else ""
            with watching(Lost(), last):
                yield at_once, per_trial, per_trial
        else:
            last = f"harness: {STUCK}" if ends_process else ""
            with watching(ray_private.has_dead_processes, last):
                yield at_once, max(1, here // workers), per_trial
    finally:
        ended_by = sys.exc_info()[1]
        # Ray may take its time: what is left of it ends with this process
        if isinstance(ended_by, KeyboardInterrupt):
            ending = threading.Thread(target=ray.shutdown, daemon=True)
            ending.start()
            again = isinstance(ended_by, RayDied) and not resources.cluster
            # one that is still ending would take the next one along
            ending.join(60.0 if again or not ends_process else 2.0)
            if ending.is_alive():
                ray_private.forget_shutdown()
        else:
            ray.shutdown()
        ended.close()


@contextlib.contextmanager
def _short_folder() -> Iterator[str | None]:
    """A folder for the sockets of Ray's processes, gone in the end; None where the one that Ray
    would take is short enough.

    A socket's path has room for 107 bytes (unix(7)), and Ray adds 70: Slurm's folders for a job are
    longer than what is left. Raises `BadInput`.
    """
    usual = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(os.fsencode(os.path.abspath(usual))) <= LONGEST_FOLDER and os.access(usual, os.W_OK):
        yield None
        return
    for place in ("/tmp", os.environ.get("XDG_RUNTIME_DIR", ""), "/var/tmp", "/dev/shm"):
        if (
            place
            and len(os.fsencode(place)) <= LONGEST_FOLDER - 16
            and os.access(place, os.W_OK | os.X_OK)
        ):
            break
    else:
        raise BadInput(
            f"the folder for temporary files, {usual}, has too long a name for Ray's sockets: set"
            " RAY_TMPDIR to a short one."
        )
    with tempfile.TemporaryDirectory(
        prefix="vpt-ray-", dir=place, ignore_cleanup_errors=True
    ) as folder:
        yield folder


@contextlib.contextmanager
def _sigterm_is_ours(interrupts: Interrupts | None) -> Iterator[None]:
    """Around `ray.init`, which takes SIGTERM for itself: its answer, an exit code of its own, is
    ours, and afterwards the signal is.

    The processes that Ray starts inherit that it is blocked, as Ray itself blocks SIGINT for them:
    a scheduler sends it to all of a job's processes, and Ray ends one of its drivers without a word
    where that is in a call to a raylet that has ended.
    """
    if interrupts is None:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        yield
        interrupts.take()
        ray_private.end_processes_at_once()
    except SystemExit:
        raise Interrupted(signal.SIGTERM) from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _connect(address: str, **private: Any) -> None:
    """Raises `BadInput` where there is no such cluster, or this machine isn't one of its nodes."""
    import ray
    from ray.exceptions import RayError

    from harness.engine.cluster import answers

    if address not in ("auto", "local") and not answers(address):  # Ray would try for minutes
        raise BadInput(
            f"no Ray cluster at {address}: nobody listens there. `ray start --head` says the"
            " address of its own."
        )
    ray_private.silence_raylets()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ray.init(
                address,
                log_to_driver=False,
                configure_logging=False,
                logging_level=logging.CRITICAL,
                **private,
            )
        except (ConnectionError, RuntimeError, ValueError, RayError) as error:
            if address == "local":
                raise
            said = " ".join(str(error).split())[:300]
            raise BadInput(
                f"no Ray cluster at {address} that this machine is a node of ({said}). Start `ray"
                " start --address=HEAD:PORT` on it first, or run `ray job submit -- harness run"
                " ...`."
            ) from error


def _described(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {resources.get(name, 0):g}" for name in ("CPU", "GPU"))
