"""Claim: rounding, which two runs on a GPU don't share, moves a method's score by no more than
`harness reproduce` allows it.

    python benchmarks/rounding.py [--json] [--write] [--methods prompts,peft,references]
    [--tasks digits] [--noise 1e-4] [--draws 3]

A run on a CPU is repeated to the last bit, so what another order of sums does is put in by hand:
each gradient value is multiplied by 1 + noise x a normal number, at every step. 1e-4 is far more
than the order of float32's sums changes, and less than bf16's own rounding (4e-3). `moved`: the
largest distance in points between the score on val (200 images) with noise and without, over draws
and tasks. `--write` keeps the rows in benchmarks/rounding.json, beside those of other methods.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

import harness
from harness.backbones import load
from harness.backbones.carried import lacking
from harness.planning.variants import parse

FILE = Path(__file__).parent / "rounding.json"


@contextmanager
def noisy(scale: float, seed: int) -> Iterator[None]:
    """Within, every optimiser's step reads gradients with relative noise."""
    drawn = torch.Generator().manual_seed(seed)

    def disturb(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    noise = torch.randn(parameter.grad.shape, generator=drawn)
                    parameter.grad.mul_(1 + scale * noise)

    hook = register_optimizer_step_pre_hook(disturb)
    try:
        yield
    finally:
        hook.remove()


def score(method: str, task: str) -> float:
    return harness.fit(method, task, backbone="mini_vit", progress=False).origin.score


def moved(method: str, tasks: list[str], noise: float, draws: int) -> dict[str, Any]:
    """A row: scores without noise, and with it."""
    row: dict[str, Any] = {"method": method, "noise": noise, "tasks": {}}
    for task in tasks:
        without, others = score(method, task), list[float]()
        for draw in range(draws):
            with noisy(noise, draw):
                others.append(score(method, task))
        row["tasks"][task] = {"without": without, "with": others}
    row["moved"] = max(
        abs(one - found["without"]) for found in row["tasks"].values() for one in found["with"]
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--methods", default="prompts,peft,references")
    parser.add_argument("--tasks", default="digits")
    parser.add_argument("--noise", type=float, default=1e-4)
    parser.add_argument("--draws", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    vit = load("mini_vit").vit
    rows = list[dict[str, Any]]()
    for variant in parse(chosen.methods):
        if variant.method.constant_features or lacking(
            variant.method.needs, "mini_vit", vit.carries
        ):
            continue
        rows.append(moved(variant.label, chosen.tasks.split(","), chosen.noise, chosen.draws))
        if not chosen.json:
            print(f"{variant.label}: {rows[-1]['moved']:.2f} points", flush=True)
        if chosen.write:
            kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []
            names = {row["method"] for row in rows}
            kept = [row for row in kept if row["method"] not in names] + rows
            FILE.write_text(
                json.dumps(sorted(kept, key=lambda row: row["method"]), indent=1) + "\n"
            )
    if chosen.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
