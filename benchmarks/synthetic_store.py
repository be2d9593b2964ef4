"""A store of made-up results, as large as a report ever has to take: 100 variants x the 24 tasks x
5 seeds, with a training loss of 100 points each and the curves of each search.

    python benchmarks/synthetic_store.py FILE [--variants 100] [--suite all] [--seeds 5] [--gaps]
    [--every]

`--every`: of all registered methods, one variant each before there are more of any.

The numbers are drawn, not measured: a task's level, a method's strength, their interaction and the
seeds' noise. They go in through the store's public calls, so that they are what `harness run` would
leave.
"""

import argparse
import hashlib
import json
from functools import cache
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np

from harness.planning import protocols
from harness.planning.registry import families, registered
from harness.store import Cell, Failure, Result, Store, Trial, result_id
from harness.tasks.cards import TaskCard, load_cards, load_suites

NOTE = (
    "ivpt is our reading of arXiv 2404.05207: CDC and DA agree with the first author's compiled"
    " segmentation code; which image tokens AR picks is our choice. Not the paper's numbers."
)
PACKAGES = {
    "python": "3.12.7",
    "vpt-harness": "0.1.0",
    "torch": "2.9.1",
    "timm": "1.0.22",
    "ray": "2.52.0",
    "optuna": "4.6.0",
    "numpy": "2.3.5",
}
CREATED = "2026-01-02T10:{:02d}:00+00:00"

TOGGLES = (
    {},
    {"ar": False},
    {"da": False},
    {"ar": False, "da": False},
    {"cdc": False, "da": False},
    {"ar": False, "cdc": False, "da": False},
)
PEERS = (
    {"name": "linear"},
    {"name": "vpt-deep"},
    *({"name": "ivpt", **toggles} for toggles in TOGGLES),
    {"name": "vpt"},
)
OTHERS = (
    {"name": "full"},
    {"name": "bitfit"},
    {"name": "ssf"},
    {"name": "lora"},
    {"name": "adaptformer"},
)


def variants(wanted: int, every: bool = False) -> list[dict[str, Any]]:
    """Arguments of `wanted` variants, `name` among them: the methods that the harness has, then
    more and more of their settings."""
    kinds = (("vpt-deep", "prompts"), ("lora", "rank"), ("adaptformer", "width"))
    more = ({"name": name, key: size} for size in (1, 5, 10, 20, 50, 100) for name, key in kinds)
    rest = (
        {"name": name, key: size, "base_lr": rate}
        for rate in count(1)
        for size in (5, 10, 20, 50)
        for name, key in kinds
    )
    grids = (
        {"name": "ivpt", "prompts": size, **toggles}
        for size in (10, 50, 100)
        for toggles in TOGGLES
    )
    all_of_them = ({"name": name} for name in registered()) if every else ()
    found = chain(all_of_them, () if every else (*PEERS, *OTHERS), grids, more, rest)
    return [next(found) for _ in range(wanted)]


def fill(
    store: Store,
    *,
    wanted: int = 100,
    suite: str = "all",
    seeds: int = 5,
    points: int = 100,
    trials: int = 4,
    gaps: bool = False,
    every: bool = False,
) -> None:
    """Fills `store` with `wanted` variants on the suite's tasks. With `gaps`, a cell failed, one
    isn't there, a search was shorter."""
    draw = np.random.default_rng(0)
    cards, chosen = load_cards(), load_suites()[suite]
    tasks = [cards[name] for name in chosen.tasks]
    protocol = protocols.load(chosen.protocol)
    level = dict(zip(chosen.tasks, draw.uniform(38, 92, len(tasks)), strict=True))
    noise = dict(zip(chosen.tasks, draw.uniform(0.15, 1.1, len(tasks)), strict=True))
    results: list[Result] = []
    searches: list[Trial] = []
    for row, arguments in enumerate(variants(wanted, every)):
        strength = _strength(arguments) + draw.normal(0, 0.6)
        for column, card in enumerate(tasks):
            lost = gaps and (row, column) == (1, 3)
            if gaps and (row, column) == (4, len(tasks) - 1):
                continue
            cell = _cell(arguments, card, protocol, chosen.backbone)
            store.add_cell(cell)
            spent = trials // 2 if gaps and arguments["name"] == "linear" else trials
            params = {
                "base_lr": float(draw.choice([0.25, 0.5, 1.0, 2.5, 5.0])),
                "weight_decay": float(draw.choice([0.01, 0.001, 0.0001])),
            }
            if arguments["name"] in ("ivpt", "vpt", "vpt-deep") and "prompts" not in arguments:
                params["prompts"] = int(draw.choice([10, 50]))
            centre = (
                level[card.name]
                + strength * (0.5 + (100 - level[card.name]) / 60)
                + draw.normal(0, 0.8)
            )
            searches += _search(cell, spent, params, centre - 1, protocol.epochs, row + column)
            if lost:
                store.add_failure(
                    Failure(
                        cell.key,
                        protocol.seeds[0],
                        "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.25 GiB",
                        CREATED.format(59),
                    )
                )
                continue
            scores = np.clip(draw.normal(centre, noise[card.name], seeds), 5, 99.8).round(4)
            for seed, score in zip(protocol.seeds[:seeds], scores.tolist(), strict=True):
                results.append(
                    _result(cell, seed, score, params, arguments, draw, points, protocol.epochs)
                )
    store.add_trials(searches)
    store.add_results(results)


def _search(
    cell: Cell, count: int, chosen: dict[str, Any], value: float, epochs: int, seed: int
) -> list[Trial]:
    """Trials of which the last is the best and has the chosen point; the second is pruned."""
    draw = np.random.default_rng(seed)
    trials = []
    for number in range(count):
        last, pruned = number == count - 1, number == 1 and count > 2
        below = 0.0 if last else float(draw.uniform(0.3, 6))
        params = {
            **chosen,
            **({} if last else {"base_lr": float(draw.choice([0.1, 0.5, 1.0, 5.0, 10.0]))}),
        }
        best = float(np.clip(value - below, 1, 99.5))
        at = [epochs // 4, epochs // 2] if pruned else [epochs // 4, epochs // 2, epochs]
        curve = {epoch: round(best * (1 - 0.5 * 0.02 ** (epoch / epochs)), 2) for epoch in at}
        losses = _losses(draw, at[-1], epochs, 24)
        state, scored = ("pruned", None) if pruned else ("complete", best)
        trials.append(
            Trial(cell.key, number, params, state, scored, curve, None, 60.0, 1.4e5, {}, losses)
        )
    return trials


def _losses(
    draw: np.random.Generator, until: int, epochs: int, points: int
) -> dict[str, list[float | None]]:
    """Training loss and learning rate after some epochs, as a run logs them."""
    at = np.unique(np.linspace(1, until, min(points, until)).round().astype(int))
    loss = 0.1 + 2.5 * np.exp(-4 * at / epochs) + draw.normal(0, 0.03, len(at))
    rate = 0.05 * (1 + np.cos(np.pi * at / epochs))
    return {
        "epoch": at.astype(float).tolist(),
        "loss": np.abs(loss).round(4).tolist(),
        "lr": rate.round(6).tolist(),
    }


def _strength(arguments: dict[str, Any]) -> float:
    """Points over the linear probe: what a reader would expect of each, so that the page looks like
    one of real results."""
    base = {
        "linear": 0,
        "bitfit": 3,
        "full": 4,
        "vpt": 5,
        "adaptformer": 6,
        "lora": 8,
        "ssf": 9,
        "vpt-deep": 8,
        "ivpt": 8.5,
    }.get(arguments["name"], 7.5)
    on = (
        sum(arguments.get(name, True) for name in ("cdc", "da", "ar")) * 0.5
        if arguments["name"] == "ivpt"
        else 0
    )
    size = next(
        (value for key, value in arguments.items() if key in ("prompts", "rank", "width")), 10
    )
    return base + on - abs(np.log10(size / 20))


@cache
def _families() -> dict[str, str]:
    """Of the registered methods."""
    return {name: family for family, names in families().items() for name in names}


def _cell(
    arguments: dict[str, Any], card: TaskCard, protocol: protocols.Protocol, backbone: str
) -> Cell:
    name, fixed = (
        arguments["name"],
        {key: value for key, value in sorted(arguments.items()) if key != "name"},
    )
    inside = ",".join(f"{key}={str(value).lower()}" for key, value in fixed.items())
    identity = {
        "method": {"name": name, "version": "1", "arguments": fixed},
        "task": {
            "name": card.name,
            "card": _sha(f"card {card.name}"),
            "data": _sha(f"data {card.name}"),
            "pixels": card.pixels,
        },
        "backbone": {"name": backbone, "sha256": _sha(backbone), "pooling": "cls"},
        "protocol": protocol.identity(),
    }
    labels = {
        "variant": f"{name}({inside})" if inside else name,
        "suite": card.suite,
        "group": card.group,
        "kind": card.kind,
        "family": _families().get(name, "peft"),
        "metric": card.metric,
        "protocol": protocol.name,
        "classes": card.classes,
        "note": NOTE if name == "ivpt" else "",
    }
    return Cell(_sha(json.dumps(identity, sort_keys=True)), identity, labels)


def _result(
    cell: Cell,
    seed: int,
    score: float,
    params: dict[str, Any],
    arguments: dict[str, Any],
    draw: np.random.Generator,
    points: int,
    epochs: int,
) -> Result:
    trainable = {
        "linear": 0,
        "full": 85_798_656,
        "bitfit": 102_912,
        "ssf": 205_824,
        "adaptformer": 156_000,
        "lora": 294_912,
    }
    size: int = arguments.get("prompts", params.get("prompts", 10))
    own = trainable.get(arguments["name"], 768 * size * (1 if arguments["name"] == "vpt" else 12))
    if arguments["name"] == "ivpt":
        own += 11 * (size**2 + size) * arguments.get("da", True) + 11 * 10 * 768 * arguments.get(
            "ar", True
        )
    provenance = {
        "versions": PACKAGES,
        "platform": "Linux-6.1.0-x86_64-with-glibc2.36",
        "processor": "AMD EPYC 7763 64-Core Processor",
        "device": "NVIDIA A100-SXM4-40GB",
        "threads": 4,
        "precision": "bf16 autocast",
        "cores": 16,
        "inputs": {
            "method": arguments["name"],
            "data_root": "/data",
            "cards": None,
            "backbone": cell.identity["backbone"]["name"],
            "pixels": None,
        },
    }
    return Result(
        result_id(cell.key, seed),
        cell.key,
        seed,
        params,
        score,
        int(own * arguments.get("rank", 8) / 8) if arguments["name"] == "lora" else int(own),
        cell.labels["classes"] * 769,
        _sha(f"{cell.key} {seed}"),
        float(draw.uniform(55, 140)),
        int(draw.uniform(3.1e9, 6.4e9)),
        1.0e5 + 400.0 * seed,
        {epochs: score},
        provenance,
        CREATED.format(seed % 60),
        curves=_losses(np.random.default_rng(seed), epochs, epochs, points),
        extras=_costs(arguments["name"], own, cell.labels["classes"] * 769, draw),
    )


def _costs(name: str, own: float, head: int, draw: np.random.Generator) -> dict[str, float]:
    """As a ViT-B/16's would be."""
    beyond = 0.0 if name in ("linear", "full", "bitfit", "ssf", "lora") else own * 400 + 6e7
    trained = {"linear": 32.7e9, "full": 97.9e9}.get(name, 66.5e9 + 2 * beyond)
    return {
        "flops": trained,
        "flops_scored": 32.7e9 + beyond,
        "flops_overhead": beyond,
        "seconds_image": trained / float(draw.uniform(2.4e13, 3.1e13)),
        "checkpoint_bytes": 4 * (int(own) + head),
    }


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--variants", type=int, default=100)
    parser.add_argument("--suite", default="all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--gaps", action="store_true")
    parser.add_argument("--every", action="store_true")
    asked = parser.parse_args()
    fill(
        Store(asked.file),
        wanted=asked.variants,
        suite=asked.suite,
        seeds=asked.seeds,
        gaps=asked.gaps,
        every=asked.every,
    )


if __name__ == "__main__":
    main()
