"""Sends backbones to the workers: each is put into Ray's object store once, copied to a node once,
and read by every worker there.

A ViT-B is 343 MB. The plan also goes to every worker, but is small without backbones.
"""

import fcntl
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.backbones import Backbone

if TYPE_CHECKING:
    import ray


class Broadcast(Mapping[str, Backbone]):
    """Backbones by name, as in a plan. A worker fetches one when it first needs it."""

    def __init__(self, backbones: Mapping[str, Backbone]):
        import ray  # here, since what trains without Ray knows this class too

        self.refs = {name: ray.put(backbone) for name, backbone in backbones.items()}
        self.here: dict[str, Backbone] = {}
        self.fetched: list[str] = []
        """Those that this process had to copy to its node."""

    def __getitem__(self, name: str) -> Backbone:
        import ray

        if name not in self.here:
            ref = self.refs[name]
            if not _is_on_this_node(ref):
                lock = (
                    Path(tempfile.gettempdir())
                    / f"vpt-harness-{ray.get_runtime_context().get_node_id()}.lock"
                )
                with lock.open("wb") as file:  # others on this node wait, and then have it
                    fcntl.flock(file, fcntl.LOCK_EX)
                    if not _is_on_this_node(ref):
                        self.fetched.append(name)
                        ray.wait([ref])
            self.here[name] = ray.get(ref)
        return self.here[name]

    def forget(self, name: str) -> None:
        """Makes the next access read it from the object store again, unchanged."""
        self.here.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self.refs)

    def __len__(self) -> int:
        return len(self.refs)


def _is_on_this_node(ref: "ray.ObjectRef") -> bool:
    import ray

    ray.wait([ref], fetch_local=False)
    return bool(ray.wait([ref], timeout=0)[0])
