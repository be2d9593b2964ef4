"""Stores filled with made-up rows: what a leaderboard is drawn from."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import synthetic_store

from harness.reporting.leaderboard import leaderboard
from harness.reporting.rows import read
from harness.reporting.section import Section, sections
from harness.store import Cell, Failure, Result, Store, Trial, result_id


class Filler:
    """Puts cells and rows into a store with one call each."""

    def __init__(self) -> None:
        self.store = Store("sqlite://")

    def cell(
        self,
        variant: str,
        task: str,
        *,
        suite: str = "mini",
        group: str = "natural",
        backbone: str = "mini_vit",
        sha: str = "ab" * 32,
        version: str = "1",
        data: str = "d" * 64,
        pixels: str = "pil",
        protocol: Mapping[str, Any] | None = None,
        name: str = "mini",
        note: str = "",
        metric: str = "top1",
        settings: Mapping[str, Any] | None = None,
        family: str = "",
        year: int | None = None,
    ) -> str:
        """Adds a cell; its key. `settings`: what the protocol says of all cells."""
        identity = {
            "method": {
                "name": variant.partition("(")[0],
                "version": version,
                "arguments": {"label": variant},
            },
            "task": {"name": task, "card": "c" * 64, "data": data, "pixels": pixels},
            "backbone": {"name": backbone, "sha256": sha, "pooling": "cls"},
            "protocol": dict(protocol or {"epochs": 10, "trials": 10}),
        }
        labels = {
            "variant": variant,
            "suite": suite,
            "group": group,
            "kind": "classification",
            "metric": metric,
            "protocol": name,
            "classes": 10,
        }
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self.store.add_cell(
            Cell(
                key,
                identity,
                {
                    **labels,
                    "note": note,
                    "family": family,
                    "year": year,
                    **({"settings": settings} if settings else {}),
                },
            )
        )
        return key

    def results(
        self,
        key: str,
        scores: Sequence[float],
        *,
        first_seed: int = 0,
        trainable: int = 960,
        created: str = "2026-01-01",
        seconds: float = 2.0,
        memory: int = 10**9,
        curves: dict[str, list[float | None]] | None = None,
        extras: dict[str, Any] | None = None,
        provenance: dict[str, Any] | None = None,
    ) -> None:
        """Adds a final run a score; each takes a second more than the one before."""
        for seed, score in enumerate(scores, first_seed):
            cost = (seconds + seed, memory, 1e6)
            self.store.add_result(
                Result(
                    result_id(key, seed),
                    key,
                    seed,
                    {},
                    score,
                    trainable,
                    1000,
                    "e" * 64,
                    *cost,
                    {10: score},
                    provenance or {},
                    created,
                    curves=curves or {},
                    extras=extras or {},
                )
            )

    def failure(self, key: str, seed: int, reason: str, created: str = "2026-01-01") -> None:
        self.store.add_failure(Failure(key, seed, reason, created))

    def trials(self, key: str, count: int, state: Any = "complete") -> None:
        first = len(self.store.trials(key))
        value = 50.0 if state == "complete" else None
        self.store.add_trials(
            [
                Trial(key, first + index, {}, state, value, {}, None, 1.0, 1.0, {})
                for index in range(count)
            ]
        )

    def grid(
        self,
        variants: Sequence[str],
        groups: Mapping[str, Sequence[str]],
        *,
        seeds: int = 3,
        missing: Sequence[tuple[str, str]] = (),
        params: Mapping[str, int] | None = None,
        **options: Any,
    ) -> dict[str, dict[str, list[float]]]:
        """Fills every square but the `missing` with made-up scores, and gives them back: {variant:
        {task: [percent a seed]}}."""
        random = np.random.default_rng(0)
        made: dict[str, dict[str, list[float]]] = {variant: {} for variant in variants}
        for row, variant in enumerate(variants):
            for task, group in ((task, group) for group, tasks in groups.items() for task in tasks):
                scores = (random.uniform(30, 90) + random.normal(0, 1, seeds)).round(2).tolist()
                if (variant, task) not in missing:
                    made[variant][task] = scores
                    trainable = 1000 * row if params is None else params[variant]
                    self.results(
                        self.cell(variant, task, group=group, **options),
                        scores,
                        trainable=trainable,
                    )
        return made

    def section(self, tasks: Sequence[str] | None = None) -> Section:
        """The only section of what is stored."""
        (found,) = sections(leaderboard(read(self.store)), tasks, None)
        return found


@pytest.fixture
def filler() -> Filler:
    return Filler()


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """100 variants x 24 tasks x 5 seeds with a curve of 100 points each, in a file (`large.file`);
    for reading only."""
    store = Store(tmp_path_factory.mktemp("large") / "harness.db")
    synthetic_store.fill(store)
    return store
