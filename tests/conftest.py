"""What tests share: a cache of their own, and a tiny task with a protocol that ends in seconds."""

import contextlib
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis  # noqa: F401  # it asks for referrers of what it registers: before they are frozen
import jaxtyping
import numpy as np
import pytest
import shapes
from jaxtyping import install_import_hook
from postgres_server import Server, programs

if TYPE_CHECKING:
    from harness.planning.request import Request

REPOSITORY = Path(__file__).parent.parent
SHARED = REPOSITORY.parent / "shared"

CHECKED = ("harness.backbones", "harness.data", "harness.training", "methods")
"""Packages whose signatures hold in the calls that a test makes, shapes of arrays included: see
`shapes`."""

install_import_hook(CHECKED, "shapes.checked")

CARD = """
name = "{name}"
title = "grey squares"
suite = "mine"
group = "toy"
kind = "classification"
classes = 3
sizes = {{ train = 18, val = 12, test = 15 }}
pixels = "pil"
metric = "top1"
source = "generated"
licence = "none"
citation = "none"

[reader]
format = "arrays"
file = "{name}.npz"
"""

PROTOCOL = """
title = "two epochs"
optimizer = "adamw"
epochs = 2
warmup_epochs = 1
batch_size = 8
seeds = [0, 1]
sampler = "tpe"
trials = 2
pruner = "median"
score_every = 1
space = { base_lr = { low = 0.1, high = 1.0, log = true }, weight_decay = { choices = [0.0] } }
method_space = { prompts = { choices = [2, 4] } }
"""


LONG = (
    *(
        "tests/faults/",
        "engine/test_run",
        "engine/test_events",
        "test_page_browser",
        "test_package",
        "harness/test_testing",
        "tasks/test_cards_suites",
        "harness/test_api",
        "io/test_commands",
    ),
    *("test_tutorial", "test_site", "engine/test_cluster", "cli/test_cli", "test_hostile"),
)
"""Files of minutes: first, so that no process is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not any(part in item.nodeid for part in LONG))


def pytest_collection_finish() -> None:
    """What was imported stays: no later collection of garbage walks over it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _checked() -> Iterator[None]:
    shapes.begin()
    yield
    shapes.begin()  # what the next file's fixtures call too


@pytest.fixture
def unchecked() -> None:
    """Signatures aren't checked: for tests that hand over what the code itself must refuse."""
    jaxtyping.config.update("jaxtyping_disable", True)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for all processes of a run: what it takes seconds to make is made once."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    monkeypatch.setenv("VPT_HARNESS_CACHE", str(folder / "cache"))


@pytest.fixture(autouse=True)
def _no_kept_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that puts something in place of code is answered by that, not by what was kept."""
    monkeypatch.setattr("harness.io.answers.recalled", lambda kind, of: None)


@pytest.fixture
def never_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray isn't started while a request is planned: what starts it then is the run itself."""
    monkeypatch.setattr(
        "harness.engine.ray_session.starting_ahead", lambda resources: contextlib.nullcontext()
    )


@dataclass(frozen=True)
class Tiny:
    """A folder with cards `toy` and `toy2`, a protocol, and a place for a store."""

    folder: Path

    @property
    def cards(self) -> Path:
        return self.folder / "cards"

    @property
    def protocol(self) -> Path:
        return self.folder / "quick.toml"

    @property
    def store(self) -> Path:
        return self.folder / "results.db"

    def arguments(
        self, *more: str, tasks: str = "toy", methods: str = "linear,vpt-deep"
    ) -> list[str]:
        """Of `harness run` on this folder."""
        here = [
            "--cards",
            str(self.cards),
            "--protocol",
            str(self.protocol),
            "--store",
            str(self.store),
        ]
        return ["run", "--methods", methods, "--tasks", tasks, *here, *more]

    def request(self, methods: str, tasks: str = "toy", **more: Any) -> "Request":
        """For a plan of this folder, with the small backbone unless `more` says another."""
        from harness.planning.request import Request

        here = {"cards": self.cards, "protocol": str(self.protocol), "backbone": "mini_vit"}
        return Request(methods, tasks=tasks, **{**here, **more})


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return tiny_in(tmp_path)


@pytest.fixture(scope="session")
def make_tiny() -> Callable[[Path], Tiny]:
    return tiny_in


def tiny_in(folder: Path) -> Tiny:
    """Makes what is in a `Tiny`."""
    found = Tiny(folder)
    found.cards.mkdir()
    found.protocol.write_text(PROTOCOL)
    for seed, name in enumerate(("toy", "toy2")):
        (found.cards / f"{name}.toml").write_text(CARD.format(name=name))
        rng, arrays = np.random.RandomState(seed), {}
        for split, n in {"train": 18, "val": 12, "test": 15}.items():
            labels = np.arange(n) % 3
            arrays[f"{split}_labels"] = labels
            arrays[f"{split}_images"] = (
                labels[:, None, None] * 80 + rng.randint(0, 80, (n, 8, 8))
            ).astype(np.uint8)
        np.savez(found.cards / f"{name}.npz", allow_pickle=False, **arrays)
    return found


def harness(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture(name="harness", scope="session")
def _harness():
    return harness


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server of our own, running. Skipped where PostgreSQL isn't installed; failing there with
    VPT_HARNESS_REQUIRE_POSTGRES=1."""
    at = programs()
    says = pytest.fail if os.environ.get("VPT_HARNESS_REQUIRE_POSTGRES") == "1" else pytest.skip
    if at is None:
        says("PostgreSQL isn't installed: apt-get install postgresql")
    if find_spec("psycopg") is None:
        says("psycopg isn't installed: pip install 'vpt-harness[postgres]'")
    server = Server(at)
    yield server
    server.remove()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder],
        capture_output=True,
        check=False,
    ).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
