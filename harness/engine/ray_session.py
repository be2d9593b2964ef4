"""The Ray of a run: one of its own, which ends with it, or a cluster that this machine joins."""

import contextlib
import logging
import os
import shlex
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from harness.engine import ray_private
from harness.engine.ahead import Ahead, closing
from harness.engine.gpu_memory import let_segments_grow
from harness.engine.resources import Resources
from harness.engine.signals import Interrupted, Interrupts, RayDied, watching
from harness.errors import BadInput
from harness.io.cores import cores, let_waiting_threads_sleep
from harness.io.resources import cache_dir
from harness.planning.arithmetic import may_have_gpus

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


@contextlib.contextmanager
def connected(
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
    # Ray's workers are started by a shell, which takes a path as it is for its words
    python = shlex.quote(sys.executable)
    environment = None if python == sys.executable else {"py_executable": python}
    _connect(
        "local",
        num_cpus=workers,
        num_gpus=gpus,
        include_dashboard=False,
        runtime_env=environment,
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
