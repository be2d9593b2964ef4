"""Claim: the engine costs under 0.3 s a trial with reused actors, and under 2 % of trials that take
30 s.

    python benchmarks/overhead.py [--json] [--seconds 30]

Runs searches of 10 and of 60 nearly empty trials (one epoch on six images) through the whole engine
with one worker, three times in turn. The difference between the two, divided by 50, is what a trial
costs without the start of Ray; the same training in this process is given beside it. Then searches
of 2 and of 6 trials whose method sleeps `--seconds`: what they take above that is the engine's
share.
"""

import argparse
import io
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from harness.engine.jobs import TuneJob
from harness.engine.progress import ProgressView
from harness.engine.resources import Resources
from harness.engine.run import run
from harness.engine.trainer import Trainer
from harness.planning.plan import RunPlan, plan
from harness.planning.request import Request
from harness.store import Store

CARD = """
name = "empty"
title = "six images"
suite = "benchmark"
group = "benchmark"
kind = "classification"
classes = 2
sizes = { train = 6, val = 2, test = 2 }
pixels = "pil"
metric = "top1"
source = "generated"
licence = "none"
citation = "none"
reader = { format = "arrays", file = "empty.npz" }
"""
PROTOCOL = """
title = "one epoch"
optimizer = "adamw"
epochs = 1
warmup_epochs = 0
batch_size = 6
seeds = [0]
sampler = "random"
space = { base_lr = { low = 0.1, high = 1.0 }, weight_decay = { choices = [0.0] } }
method_space = { prompts = { choices = [1] } }
"""


SLEEPER = """
import time
from methods.vpt import VPTDeep


class Sleeper(VPTDeep):
    name = "sleeper"
    slept = 0.0

    def forward(self, images, read):
        if self.training and not self.slept:
            self.slept = {seconds}
            time.sleep({seconds})
        return super().forward(images, read)
"""


def request(folder: Path, trials: int, method: str = "vpt-deep") -> RunPlan:
    protocol = str(folder / "protocol.toml")
    return plan(
        Request(
            method,
            tasks="empty",
            cards=folder / "cards",
            protocol=protocol,
            backbone="mini_vit",
            trials=trials,
        )
    )


def engine_seconds(folder: Path, trials: int, method: str = "vpt-deep") -> float:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as fresh, ProgressView(Console(file=io.StringIO())) as view:
        run(
            request(folder, trials, method),
            Store(Path(fresh) / "results.db"),
            Resources(workers=1),
            view,
        )
    return time.perf_counter() - started


def share_of_long_trials(folder: Path, seconds: float) -> float:
    """Of trials of so many seconds, what isn't theirs, in percent."""
    file = folder / "sleeper.py"
    file.write_text(SLEEPER.format(seconds=seconds))
    few, many = (engine_seconds(folder, trials, f"{file}:Sleeper") for trials in (2, 6))
    return 100 * ((many - few) / 4 - seconds) / ((many - few) / 4)


def plain_seconds(folder: Path) -> float:
    trainer = Trainer(request(folder, 1), threads=1)
    job = TuneJob(
        trainer.plan.cells[0].key, ((0, {"base_lr": 0.1, "weight_decay": 0.0, "prompts": 1}),)
    )
    list(trainer.run(job))
    started = time.perf_counter()
    for _ in range(10):
        list(trainer.run(job))
    return (time.perf_counter() - started) / 10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=30.0, help="of a long trial")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cards = folder / "cards"
        cards.mkdir()
        sizes = {"train": 6, "val": 2, "test": 2}
        images = {f"{split}_images": np.zeros((n, 8, 8), np.uint8) for split, n in sizes.items()}
        labels = {f"{split}_labels": np.arange(n) % 2 for split, n in sizes.items()}
        np.savez(cards / "empty.npz", allow_pickle=False, **images, **labels)
        (cards / "empty.toml").write_text(CARD)
        (folder / "protocol.toml").write_text(PROTOCOL)
        pairs = [(engine_seconds(folder, 10), engine_seconds(folder, 60)) for _ in range(3)]
        found = {
            "seconds_per_trial": statistics.median((many - few) / 50 for few, many in pairs),
            "seconds_of_training_in_it": plain_seconds(folder),
            "seconds_to_start": statistics.median(few - (many - few) / 5 for few, many in pairs),
            "long_trials_seconds": given.seconds,
            "overhead_of_long_trials_percent": share_of_long_trials(folder, given.seconds),
        }
    print(
        json.dumps(found)
        if given.json
        else "\n".join(f"{name}: {value:.3f}" for name, value in found.items())
    )


if __name__ == "__main__":
    main()
