"""The Ray cluster of a run: how many jobs fit on its nodes, a job's share of a node, and whether
the cluster is still reachable."""

import socket
import time
from collections.abc import Mapping
from typing import Any

from ray.exceptions import ActorUnavailableError
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from harness.engine import ray_private

PATIENCE = 20.0
"""Seconds for which a cluster's head node may be unreachable. Ray itself ends the driver after
60."""


def fits(node: Mapping[str, float], per_trial: Mapping[str, float]) -> int:
    """How many jobs fit on a node with these resources at once. A job never spans nodes."""
    return min(
        int(node.get(name.upper(), 0.0) / share + 1e-6)
        for name, share in per_trial.items()
        if share
    )


def room(per_trial: Mapping[str, float]) -> int:
    """How many jobs fit on all nodes that are currently alive."""
    return sum(fits(node["Resources"], per_trial) for node in _living())


def threads_here(per_trial: Mapping[str, float]) -> int:
    """In a worker: its share of this node's cores."""
    import ray

    node_id = ray.get_runtime_context().get_node_id()
    node = next((node["Resources"] for node in _living() if node["NodeID"] == node_id), {})
    return max(1, int(node.get("CPU", 1.0)) // max(1, fits(node, per_trial)))


def this_node() -> str:
    """A readable name for the calling process's node: address and the start of its id, since one
    machine can be several nodes."""
    import ray

    return f"{ray.util.get_node_ip_address()}/{ray.get_runtime_context().get_node_id()[:8]}"


def _living() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


class Lost:
    """Called periodically: whether this driver, on a node of somebody else's cluster, has lost it.

    Asking Ray would hang, and then end this process: so the sockets of the head node and of this
    node's raylet are probed.
    """

    def __init__(self) -> None:
        import ray

        node_id = ray.get_runtime_context().get_node_id()
        this_node = next(node for node in _living() if node["NodeID"] == node_id)
        self.head = ray.get_runtime_context().gcs_address
        self.raylet = (this_node["NodeManagerAddress"], this_node["NodeManagerPort"])
        self.tried = self.seen = time.monotonic()

    def __call__(self) -> bool:
        if time.monotonic() - self.tried < 2.0:
            return False
        if answers(self.head, ray_private.HELLO):
            self.seen = time.monotonic()
        self.tried = time.monotonic()
        return self.tried - self.seen > PATIENCE or _refuses(self.raylet)


def answers(address: str, hello: bytes = b"") -> bool:
    """Whether a process listens at HOST:PORT; and with `hello`, whether it responds."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2.0) as connection:
            if hello:
                connection.sendall(hello)
                connection.recv(1)
    except ConnectionResetError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True


def _refuses(address: tuple[str, int]) -> bool:
    """Whether no process listens there: on this machine, it is gone."""
    try:
        socket.create_connection(address, timeout=2.0).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _node_is_gone(actor: str | None) -> bool:
    """Whether no process listens at the node of an actor any more, even if the cluster hasn't
    noticed yet."""
    node_id = ray_private.node_of(actor) if actor else None
    node = next((node for node in _living() if node["NodeID"] == node_id), None)
    return node is None or not answers(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}")


class TuneScheduler(FIFOScheduler):
    """Tune's own first-in-first-out scheduler, with two changes.

    An idle worker takes a trial that has no worker yet. Tune would give it any trial, and end the
    worker that is starting for that one: a node that joins would never get work if the other
    nodes' trials are many or short. And only a scheduler learns from Tune why a trial failed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Trial] = []
        self.without_node: set[str] = set()
        """Ids of trials whose node is gone."""

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self.waiting.append(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        self.waiting = [trial for trial in self.waiting if trial.status == Trial.PENDING]
        return ray_private.first_without_worker(tune_controller, self.waiting)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        error = ray_private.error_of(trial)
        if ray_private.NODE_DIED in str(error) or (
            isinstance(error, ActorUnavailableError) and _node_is_gone(error.actor_id)
        ):
            self.without_node.add(trial.trial_id)
