"""Every private part of Ray that is used anyway: what for, and in which form.

No other module reaches into Ray. `tests/harness/engine/test_ray_private.py` has a test for each
part, which names it if a new Ray has changed it.
"""

import atexit
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

NODE_DIED = "its node has died"
"""Ray's wording for the death of an actor whose node is gone: no field of the error has it."""

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""How HTTP/2 begins, and so gRPC, which Ray's head node speaks: the preface and empty settings (RFC
9113, section 3.4). A head node that hangs still accepts connections, but doesn't respond; a call
through Ray would end this process after 60 s."""

ENVIRONMENT = {
    # Ctrl-C is ours: Tune's own handler waits for trials to end
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_WARN_THRESHOLD_S": "60",
    # workers start all together, not one after the other; the Searcher knows how many
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",
    "RAY_AIR_NEW_OUTPUT": "0",
    # a method's relative paths refer to the folder in which the command was run
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
}
"""Settings of Ray and Tune that can only be made by environment variables; most are documented."""

TEMP_DIR = "_temp_dir"
"""The argument of `ray.init` that says where its sockets and logs are: their paths have a limit."""


def silence_raylets() -> None:
    """Keeps raylets from printing that other processes ended, which they do even with
    `log_to_driver` off: Ray's logs have it, and so have our messages on trials."""
    from ray._private import worker

    worker.print_to_stdstream = lambda *_, **__: None


def end_processes_at_once() -> None:
    """Makes `ray.shutdown` end this Ray's processes by SIGKILL: it would wait a second for each to
    handle SIGTERM."""
    node = _node()
    if node is not None:
        end = node.kill_all_processes
        node.kill_all_processes = lambda *_, **__: end(check_alive=False, allow_graceful=False)


def forget_shutdown() -> None:
    """Keeps Python from waiting for Ray's shutdown at exit, if that runs in a thread and takes
    long."""
    from ray._private import worker

    atexit.unregister(worker.shutdown)


def has_dead_processes() -> bool:
    """Whether one of the processes of the Ray that this process started is gone; somebody else's
    Ray isn't checked. Ray's only other reaction to that is to end this process."""
    node = _node()
    dead = node.dead_processes() if node is not None else []
    return any(name in ("raylet", "gcs_server") for name, _ in dead)


def node_of(actor: str) -> str | None:
    """The id of the node that an actor runs, or ran, on: an `ActorUnavailableError` has only the
    actor's."""
    from ray._private import state

    return state.actors(actor).get("Address", {}).get("NodeID")


def put(key: str, value: str) -> None:
    """Stores a value in the cluster's own key-value store: it outlives this process, unlike an
    object or an actor's state."""
    from ray.experimental import internal_kv

    internal_kv._internal_kv_put(key.encode(), value.encode())


def get(key: str) -> str | None:
    """What `put` stored; None if there is nothing, or Ray is gone too."""
    from ray.experimental import internal_kv

    with suppress(Exception):
        value = internal_kv._internal_kv_get(key.encode())
        return value.decode() if value else None
    return None


def error_of(trial: Any) -> BaseException | None:
    """The error that ended a Tune trial, as Tune has just pickled it; None if there is none."""
    from ray import cloudpickle

    if not trial.pickled_error_file:
        return None
    with open(trial.pickled_error_file, "rb") as file:
        return cloudpickle.load(file)


def first_without_worker(tune_controller: Any, trials: Iterable[Any]) -> Any:
    """The first of `trials` for which Tune has no live actor; None if each has one that is starting
    or running."""
    actors, manager = tune_controller._trial_to_actor, tune_controller._actor_manager
    return next(
        (
            trial
            for trial in trials
            if trial not in actors or not manager.is_actor_started(actors[trial])
        ),
        None,
    )


def _node() -> Any:
    """The Ray node that this process started, or is a driver of."""
    from ray._private import worker

    return worker._global_node
