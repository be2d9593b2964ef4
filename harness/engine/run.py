"""A run: takes a plan and fills a store. One Ray Tune experiment serves all cells, for tuning and
final runs alike."""

import contextlib
import logging
import math
import os
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.engine import ray_private
from harness.engine.ahead import Ahead, closing
from harness.engine.events import Events, Traces
from harness.engine.gpu_memory import let_segments_grow
from harness.engine.progress import ProgressView
from harness.engine.resources import Resources
from harness.engine.scheduler import LEASE, Scheduler
from harness.engine.signals import Interrupted, Interrupts, RayDied, watching
from harness.errors import BadInput
from harness.io.cores import cores, let_waiting_threads_sleep
from harness.io.resources import cache_dir
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

LOST = (
    "the Ray cluster at {} is gone, or no longer responds: its head node, or Ray on this"
    " machine. Everything finished is stored; once it is back, the same command resumes."
)


LONGEST_FOLDER = 34
"""Bytes of a folder's name that leave room for what Ray appends, such as `/ray`."""

STUCK = (
    "a process of Ray died, and this one is stuck in a call to it. Everything finished is stored:"
    " the same command resumes."
)


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
    view.stage("starting Ray")
    with _ray(resources, interrupts, ahead) as (workers, threads, per_trial):
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


@contextlib.contextmanager
def _ray(
    resources: Resources, interrupts: Interrupts | None, ahead: Ahead | None = None
) -> Iterator[tuple[int, int | dict[str, float], dict[str, float]]]:
    """Ray for the run: (jobs at once, threads per worker, resources per job). On a cluster, workers
    share their node's cores.

    Its logs and warnings are kept out of the view.
    """
    cleanup = contextlib.ExitStack()
    cleanup.enter_context(_ready_for_ray())
    import ray
    import torch

    from harness.engine.cluster import Lost, room

    _silence_logs()
    ends_process = interrupts is not None and interrupts.ends_process
    local_cores = cores()
    gpus = torch.cuda.device_count()
    per_gpu = (
        resources.gpus_per_trial
        if resources.gpus_per_trial is not None
        else (1.0 if gpus or resources.cluster else 0.0)
    )
    workers = resources.workers or (
        max(1, int(gpus / per_gpu)) if gpus and per_gpu else local_cores
    )
    try:
        with _sigterm_is_ours(interrupts):
            if resources.cluster:
                _connect(resources.cluster)
            elif ahead is not None:
                ahead.take()
            else:
                _connect_locally(workers, gpus, cleanup.enter_context(_short_folder()))
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
                f"no node has room for a trial that needs {per_trial}: all together have"
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
                yield at_once, max(1, local_cores // workers), per_trial
    finally:
        ended_by = sys.exc_info()[1]
        # Ray may be slow: the rest of it ends with this process
        if isinstance(ended_by, KeyboardInterrupt):
            ending = threading.Thread(target=ray.shutdown, daemon=True)
            ending.start()
            again = isinstance(ended_by, RayDied) and not resources.cluster
            # one that is still ending would end the next one too
            ending.join(60.0 if again or not ends_process else 2.0)
            if ending.is_alive():
                ray_private.forget_shutdown()
        else:
            ray.shutdown()
        cleanup.close()


@contextlib.contextmanager
def _environment_as_it_was() -> Iterator[None]:
    """Variables that this run or Ray sets are for its workers: a later `breakpoint()`, say, isn't
    Ray's."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _short_folder() -> Iterator[str | None]:
    """A temporary folder for the sockets of Ray's processes; None if Ray's default has a short
    enough path.

    A socket's path has room for 107 bytes (unix(7)), and Ray adds 70: Slurm's job folders are
    longer than the rest. Raises `BadInput`.
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
            f"the path of the folder for temporary files, {usual}, is too long for Ray's sockets:"
            " set RAY_TMPDIR to a short one."
        )
    with tempfile.TemporaryDirectory(
        prefix="vpt-ray-", dir=place, ignore_cleanup_errors=True
    ) as folder:
        yield folder


@contextlib.contextmanager
def _sigterm_is_ours(interrupts: Interrupts | None) -> Iterator[None]:
    """Around `ray.init`, which installs its own SIGTERM handler: turns its exit into our interrupt,
    and restores our handler afterwards.

    The processes that Ray starts inherit the blocked signal, as Ray itself blocks SIGINT for them:
    a scheduler sends SIGTERM to all of a job's processes, and a driver in a call to a raylet that
    has ended would be ended by Ray without a message.
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


@contextlib.contextmanager
def starting_ahead(resources: Resources) -> Iterator[Ahead | None]:
    """Starts a Ray of one's own in a thread, for a `run` inside the block; None where it has to be
    known first what torch finds, or that the cluster is there."""
    if resources.cluster or may_have_gpus():
        yield None
        return
    with contextlib.ExitStack() as cleanup:
        cleanup.enter_context(_ready_for_ray())
        workers, folder = resources.workers or cores(), cleanup.enter_context(_short_folder())

        def connect() -> None:
            # what Ray starts inherits this thread's mask: see `_sigterm_is_ours`
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            _connect_locally(workers, 0, folder)

        yield cleanup.enter_context(closing(Ahead(connect)))


@contextlib.contextmanager
def _ready_for_ray() -> Iterator[None]:
    """With the environment that Ray, and what it starts, gets from us. Ray is imported here, in the
    main thread: two threads had better not import the same packages."""
    with _environment_as_it_was():
        os.environ.update(ray_private.ENVIRONMENT, VPT_HARNESS_CACHE=str(cache_dir().absolute()))
        let_waiting_threads_sleep()
        let_segments_grow()
        import ray  # noqa: F401

        _silence_logs()
        yield


def _silence_logs() -> None:
    """Importing Ray, and then Tune, sets levels of their own."""
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _connect_locally(workers: int, gpus: int, folder: str | None) -> None:
    """Starts a Ray of our own. Raises `BadInput`."""
    _connect(
        "local",
        num_cpus=workers,
        num_gpus=gpus,
        include_dashboard=False,
        **{ray_private.TEMP_DIR: folder},
    )


def _connect(address: str, **private: Any) -> None:
    """Raises `BadInput` if there is no such cluster, or this machine isn't one of its nodes."""
    import ray
    from ray.exceptions import RayError

    from harness.engine.cluster import answers

    if address not in ("auto", "local") and not answers(address):  # Ray would try for minutes
        raise BadInput(
            f"no Ray cluster at {address}: nothing listens there. `ray start --head` prints the"
            " address of its cluster."
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
        except Exception as error:  # of a Ray that doesn't start: no more than that
            message = " ".join(str(error).split())[:300]
            if address == "local":
                raise BadInput(
                    f"Ray couldn't be started on this machine ({message}). Is it overloaded, or its"
                    " memory or the folder for temporary files full? Nothing is lost: the same"
                    " command resumes."
                ) from error
            if not isinstance(error, ConnectionError | RuntimeError | ValueError | RayError):
                raise
            raise BadInput(
                f"this machine isn't a node of a Ray cluster at {address} ({message}). Run `ray"
                " start --address=HEAD:PORT` on it first, or run `ray job submit -- harness run"
                " ...`."
            ) from error


def _described(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {resources.get(name, 0):g}" for name in ("CPU", "GPU"))
