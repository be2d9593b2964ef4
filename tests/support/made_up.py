"""Made-up cells with true keys, and stores filled with them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.store import Cell, Failure, Result, Store, Trial, cell_key, result_id

MADE = {
    "device": "cpu",
    "processor": "a processor",
    "versions": {"torch": "2.9"},
    "inputs": {"method": "vpt"},
    "odd": "é\u2028",
}


def cell(variant: str = "vpt", task: str = "digits", **labels: Any) -> Cell:
    identity = {
        "method": {
            "name": variant.partition("(")[0],
            "version": "1",
            "arguments": {"label": variant},
        },
        "task": {"name": task, "card": "c" * 64, "data": "d" * 64, "pixels": "pil"},
        "backbone": {"name": "mini_vit", "sha256": "ab" * 32, "pooling": "cls"},
        "protocol": {
            "epochs": 10,
            "trials": 4,
            "space": {"base_lr": {"low": 0.05, "high": 50.0, "log": True}},
        },
    }
    shown = {
        "variant": variant,
        "suite": "mini",
        "group": "real",
        "kind": "classification",
        "metric": "top1",
        "classes": 10,
    }
    return Cell(cell_key(identity), identity, {**shown, "protocol": "mini", "note": "", **labels})


def result(
    of: Cell,
    seed: int,
    score: float = 90.0,
    created: str = "2026-01-02T10:00:00+00:00",
    **more: Any,
) -> Result:
    row = Result(
        result_id(of.key, seed),
        of.key,
        seed,
        {"base_lr": 0.1},
        score,
        960,
        650,
        "e" * 64,
        2.5,
        10**9,
        1e6,
        {1: 50.0, 10: score},
        MADE,
        created,
        {"miou": {"0.5": score / 3}},
    )
    return replace(row, **more)


def trial(of: Cell, number: int, value: float | None = 80.0, **more: Any) -> Trial:
    state = "failed" if value is None else "complete"
    reason = "NaN" if value is None else None
    row = Trial(
        of.key,
        number,
        {"base_lr": 0.1 * number, "cdc": True},
        state,
        value,
        {5: 40.0},
        reason,
        1.5,
        3e5,
        MADE,
    )
    return replace(row, **more)


def failure(of: Cell, seed: int, reason: str = "out of memory") -> Failure:
    return Failure(of.key, seed, reason, "2026-01-02T11:00:00+00:00")


VPT, LINEAR, DEEP = cell(), cell("linear"), cell("vpt-deep(prompts=5)", "fashion")


def file_of(store: Store) -> Path:
    assert store.file is not None
    return store.file


def filled(path: Path, cells: Sequence[Cell] = (VPT, DEEP)) -> Store:
    """Two seeds, three trials and a failure a cell."""
    store = Store(path)
    for one in cells:
        store.add(
            [one],
            [trial(one, n) for n in range(2)] + [trial(one, 2, None)],
            [result(one, 7), result(one, 0)],
            [failure(one, 3)],
        )
    return store


def everything(store: Store) -> tuple:
    return list(store.cells().values()), store.trials(), store.results(), store.failures()
