"""A tiny segmentation task and a protocol that ends in seconds, in the folder of the fixture
`tiny`."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from in_process import fill

from harness.engine.trainer import Trainer
from harness.inference import checkpoint_files
from harness.planning.plan import RunPlan, plan
from harness.store import Store

CARD = """
name = "halves"
title = "dark above, bright below"
suite = "mine"
group = "toy"
kind = "segmentation"
classes = 3
class_names = ["dark", "bright", "never"]
sizes = { train = 6, val = 3, test = 4 }
pixels = "setr"
crop = 30
metric = "miou"
source = "generated"
licence = "none"
citation = "none"

[reader]
format = "arrays"
file = "halves.npz"
"""

TABLE = """
[segmentation]
title = "eight iterations"
optimizer = "adamw"
base_lr = 0.5
iterations = 8
batch_size = 4
sampler = "tpe"
trials = 2
pruner = "median"
score_every = 4

[segmentation.space]
base_lr = { low = 0.1, high = 1.0, log = true }

[segmentation.method_space]
prompts = { choices = [2, 4] }
"""


WINDOWS = 2
"""Of an image of 30 x 40 for a crop of 30."""


@pytest.fixture
def seg(tiny):
    return with_segmentation(tiny)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, make_tiny) -> tuple[Path, Path]:
    """A folder with a store, made once for the tests of a file, and a copy of it; take `stored`."""
    seg = with_segmentation(make_tiny(tmp_path_factory.mktemp("filled")))
    run, store = planned(seg, "linear,vpt-deep", seeds=(3,)), Store(seg.store)
    fill(run, store, Trainer(run, threads=1, keep=checkpoint_files.Keep(store.checkpoints)))
    store.close()
    copy = tmp_path_factory.mktemp("copy") / "filled"
    shutil.copytree(seg.folder, copy)
    return seg.folder, copy


@pytest.fixture
def stored(filled: tuple[Path, Path]) -> Iterator[Store]:
    """A store with the finished cells of `linear` and `vpt-deep`, a seed each, and checkpoints
    beside it: as it was made, whatever the test before did, in the folder that its rows name."""
    folder, copy = filled
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    store = Store(folder / "results.db")
    yield store
    store.close()


def with_segmentation(tiny, more: str = ""):
    """Adds the task `halves` (images of 30 x 40, two windows each) to `tiny`, and its protocol's
    table."""
    (tiny.cards / "halves.toml").write_text(CARD)
    rng, arrays = np.random.default_rng(0), {}
    for split, n in {"train": 6, "val": 3, "test": 4}.items():
        images = rng.integers(0, 100, (n, 30, 40, 3), dtype=np.uint8)
        images[:, 15:] += 120
        masks = np.zeros((n, 30, 40), np.uint8)
        masks[:, 15:], masks[:, 14:16] = 1, 255
        arrays |= {f"{split}_images": images, f"{split}_masks": masks}
    np.savez(tiny.cards / "halves.npz", allow_pickle=False, **arrays)
    tiny.protocol.write_text(
        tiny.protocol.read_text() + TABLE.replace("score_every = 4\n", f"score_every = 4\n{more}\n")
    )
    return tiny


def planned(tiny, methods: str, tasks: str = "halves", **more) -> RunPlan:
    return plan(tiny.request(methods, tasks, **more))
