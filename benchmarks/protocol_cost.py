"""Claim: VPT's protocol costs 2.4 x less for the same selection, and 8 x less by our default
search; what that search loses is stated.

    python benchmarks/protocol_cost.py [--json] [--store protocol_cost.db]

In forward-image units (a training image counts 2) for VPT-Deep with 10 prompts over the 19 tasks of
VTAB-1k at their real sizes:

- `released`: the habit of VPT's released code. 40 grid points of 100 epochs, then 5 final runs; val
  after every epoch, and in
  final runs test too.
- `ours_same_selection`: `--protocol vpt`. The same points and runs; val once a trial, test once a
  final run.
- `ours_default`: `--protocol default`. TPE with late median pruning.

Both of ours are run for real, on the mini suite with a fifth of the epochs (20, readings and
pruning a fifth as well) and batches of 16: what their trials trained and read is counted there,
task by task, and scaled to VTAB-1k's sizes. The loss is that of the mean test score over the mini
suite, default less grid, with a 95 % interval over tasks. On two cores: about half an hour; --store
keeps what is done, so that the same command goes on.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from rich.console import Console

from harness.data.fingerprint import fingerprint
from harness.engine.progress import ProgressView
from harness.engine.resources import Resources
from harness.engine.run import run
from harness.planning import protocols
from harness.planning.cell import plan_cell
from harness.planning.plan import RunPlan, plan
from harness.planning.protocols import Protocol
from harness.planning.request import Request
from harness.reporting.statistics.intervals import mean_difference
from harness.store import Store, Trial
from harness.tasks.cards import TaskCard, load_cards, load_suites

SHORTER = 5
METHOD = "vpt-deep(prompts=10)"


def shortened(name: str) -> Protocol:
    """A shipped protocol with a fifth of its epochs, in small batches."""
    protocol = protocols.load(name)
    fewer = {
        key: getattr(protocol, key) // SHORTER for key in ("epochs", "warmup_epochs", "prune_from")
    }
    every = protocol.score_every // SHORTER if protocol.score_every else None
    return protocol.model_copy(update={**fewer, "score_every": every, "batch_size": 16})


def short_plan(name: str, tasks: str | None) -> RunPlan:
    """The mini suite under a shortened protocol."""
    request = Request(METHOD, tasks=tasks, suite=None if tasks else "mini", backbone="mini_vit")
    made, protocol = plan(request), shortened(name)
    cells = [
        plan_cell(
            cell.card,
            request,
            fingerprint(cell.card, None),
            cell.variant,
            cell.backbone,
            made.backbones[cell.backbone],
            protocol,
        )
        for cell in made.cells
    ]
    return RunPlan(tuple(cells), made.backbones, made.tasks, made.suite)


def counted(trials: Sequence[Trial], card: TaskCard, protocol: Protocol) -> tuple[float, float]:
    """Epochs trained and readings of val of a search, in units of whole runs, from what its trials
    counted."""
    epochs = sum(max(trial.curve) for trial in trials)
    readings = sum(len(trial.curve) for trial in trials)
    assert (
        sum(trial.units for trial in trials)
        == 2 * card.sizes["train"] * epochs + card.sizes["val"] * readings
    )
    return epochs / protocol.epochs, readings


def scaled(
    searches: Sequence[tuple[float, float]], tasks: Sequence[TaskCard], epochs: int, seeds: int
) -> float:
    """Units over `tasks`: searches as counted (their mean), then a final run a seed, scored
    once."""
    runs, readings = (sum(values) / len(searches) for values in zip(*searches, strict=True))
    units = 0.0
    for card in tasks:
        train, val, test = (card.sizes[split] for split in ("train", "val", "test"))
        units += (
            2 * train * epochs * runs + val * readings + seeds * (2 * (train + val) * epochs + test)
        )
    return units


def habit(runs: float, tasks: Sequence[TaskCard], epochs: int, seeds: int) -> float:
    """The same training with val read after every epoch, and in final runs val and test."""
    units = 0.0
    for card in tasks:
        train, val, test = (card.sizes[split] for split in ("train", "val", "test"))
        units += runs * epochs * (2 * train + val) + seeds * epochs * (
            2 * (train + val) + val + test
        )
    return units


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--store", default="protocol_cost.db", type=Path)
    parser.add_argument("--tasks", help="some of the mini suite's tasks, comma-separated")
    arguments = parser.parse_args()
    store, known = Store(arguments.store), load_cards()
    vtab = [known[name] for name in load_suites()["vtab"].tasks]
    searches: dict[str, list[tuple[float, float]]] = {}
    scores: dict[str, dict[str, dict[int, float]]] = {}
    for name in ("vpt", "default"):
        short = short_plan(name, arguments.tasks)
        with ProgressView(Console(file=sys.stderr)) as view:
            run(short, store, Resources(), view)
        searches[name] = [
            counted(store.trials(cell.key), cell.card, cast("Protocol", cell.protocol))
            for cell in short.cells
        ]
        scores[name] = {
            cell.card.name: {result.seed: result.score for result in store.results(cell.key)}
            for cell in short.cells
        }
    grid, default = protocols.load("vpt"), protocols.load("default")
    released = habit(searches["vpt"][0][0], vtab, grid.epochs, len(grid.seeds))
    same = scaled(searches["vpt"], vtab, grid.epochs, len(grid.seeds))
    ours = scaled(searches["default"], vtab, default.epochs, len(default.seeds))
    difference = mean_difference(scores["default"], scores["vpt"])
    assert difference is not None
    found = {
        "released": released,
        "ours_same_selection": same,
        "ours_default": ours,
        "default_less_grid": {
            "mean": difference.mean,
            "low": difference.low,
            "high": difference.high,
            "tasks": list(scores["vpt"]),
        },
    }
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"released            {released / 1e6:7.1f} M units")
    print(f"ours_same_selection {same / 1e6:7.1f} M units, {released / same:.2f} x fewer")
    print(f"ours_default        {ours / 1e6:7.1f} M units, {released / ours:.2f} x fewer")
    interval = (
        f", 95 % interval [{difference.low:+.2f}, {difference.high:+.2f}]"
        if difference.low is not None
        else ""
    )
    print(f"default less grid   {difference.mean:+.2f} points in the mean test score{interval}")


if __name__ == "__main__":
    main()
