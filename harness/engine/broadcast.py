"""Backbones on their way to the workers: put in Ray's object store once, brought to a node once,
read by each worker there.

A ViT-B is 343 MB. The plan goes to every worker too, but without them it is small.
"""

import fcntl
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import ray

from harness.backbones import Backbone


class Broadcast(Mapping[str, Backbone]):
    """Backbones by name, as a plan holds them. A worker gets those that it asks for, the first time
    it does."""

    def __init__(self, backbones: Mapping[str, Backbone]):
        self.refs = {name: ray.put(backbone) for name, backbone in backbones.items()}
        self.here: dict[str, Backbone] = {}
        self.fetched: list[str] = []
        """Those that this process had to bring to its node."""

    def __getitem__(self, name: str) -> Backbone:
        if name not in self.here:
            ref = self.refs[name]
            if not _is_on_this_node(ref):
                lock = (
                    Path(tempfile.gettempdir())
                    / f"vpt-harness-{ray.get_runtime_context().get_node_id()}.lock"
                )
                with lock.open("wb") as file:  # the others of this node wait, and then find it here
                    fcntl.flock(file, fcntl.LOCK_EX)
                    if not _is_on_this_node(ref):
                        self.fetched.append(name)
                        ray.wait([ref])
            self.here[name] = ray.get(ref)
        return self.here[name]

    def forget(self, name: str) -> None:
        """The next time it is asked for, it comes from the store again, as it was put there."""
        self.here.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self.refs)

    def __len__(self) -> int:
        return len(self.refs)


def _is_on_this_node(ref: ray.ObjectRef) -> bool:
    ray.wait([ref], fetch_local=False)
    return bool(ray.wait([ref], timeout=0)[0])
