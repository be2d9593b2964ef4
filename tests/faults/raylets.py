"""A Ray cluster of several nodes on this machine: `ray start` as on several, each node a process
group that tests can kill."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from driving import kill, part_of_ray, wait_for


class Node(subprocess.Popen):
    """`ray start --block`: a raylet, at the head a GCS as well, and their workers. `name` is what a
    method finds in NODE."""

    def __init__(
        self,
        cluster: "Cluster",
        name: str,
        *arguments: str,
        cpus: int,
        gpus: int,
        wrapped: tuple[str, ...] = (),
    ):
        self.name = name
        self.cache = cluster.folder / f"cache-{name}"
        environment = {
            **os.environ,
            "NODE": name,
            "VPT_HARNESS_CACHE": str(self.cache),
            "OMP_NUM_THREADS": "1",
            "RAY_TMPDIR": str(cluster.sockets),
            **cluster.token,
            # a dead node is seen within seconds, not half a minute
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
        }
        environment.pop("RAY_ADDRESS", None)
        command = [
            *wrapped,
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--block",
            "--disable-usage-stats",
        ]
        command += [
            "--node-ip-address",
            "127.0.0.1",
            "--num-cpus",
            str(cpus),
            "--num-gpus",
            str(gpus),
        ]
        command += ["--object-store-memory", "200000000", *arguments]
        self.log = cluster.folder / f"node-{name}.txt"
        with self.log.open("w") as file:
            super().__init__(
                command,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def lose(self) -> None:
        """kill -9 of its raylet: its workers end, and the cluster finds out."""
        kill(part_of_ray(self, "raylet"))


class Cluster:
    """Use it as a context manager; `address` is its head's."""

    def __init__(self, folder: Path):
        self.folder = folder
        # a socket's path has to be short
        self.sockets = Path(tempfile.mkdtemp(prefix="vh", dir="/tmp"))
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "1f" * 32}
        self.nodes: list[Node] = []

    def head(self, cpus: int = 1, gpus: int = 0, *more: str) -> Node:
        more = more or ("--include-dashboard", "false")
        return self._started(
            Node(self, "head", "--head", "--port", str(self.port), *more, cpus=cpus, gpus=gpus)
        )

    def join(self, name: str, cpus: int = 1, gpus: int = 0, wrapped: tuple[str, ...] = ()) -> Node:
        return self._started(
            Node(self, name, "--address", self.address, cpus=cpus, gpus=gpus, wrapped=wrapped)
        )

    def _started(self, node: Node) -> Node:
        self.nodes.append(node)
        wait_for(lambda: "Ray runtime started" in node.log.read_text() or node.poll() is not None)
        assert node.poll() is None, node.log.read_text()
        return node

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        for node in reversed(self.nodes):
            with suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGTERM)
        time.sleep(1)
        for node in self.nodes:
            with suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
            node.wait()
        shutil.rmtree(self.sockets, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
