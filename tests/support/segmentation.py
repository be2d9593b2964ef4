"""A tiny segmentation task and a protocol that ends in seconds, in the folder of the fixture
`tiny`."""

import numpy as np

from harness.engine.scheduler import Scheduler
from harness.engine.worker import Trainer
from harness.planning.plan import Request, RunPlan, plan
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
    return plan(
        Request(
            methods,
            tasks=tasks,
            cards=tiny.cards,
            protocol=str(tiny.protocol),
            backbone="mini_vit",
            **more,
        )
    )


def fill(run: RunPlan, store: Store, trainer: Trainer | None = None) -> Scheduler:
    """Carries out a plan in this process, without Ray."""
    trainer = trainer or Trainer(run, threads=1)
    store.add_cells(cell.cell for cell in run.cells)
    scheduler, number = Scheduler(run, store), 0
    while not scheduler.finished:
        number += 1
        job = scheduler.next(f"{number}")
        assert job is not None
        *_, outcomes = trainer.run(job)
        assert isinstance(outcomes, list)
        scheduler.finish(f"{number}", outcomes)
    return scheduler
