"""A store with four cells and nothing done, for the tests of where it stands; and what fills it."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from made_up import cell, result, trial
from rich.console import Console

from harness.cli import status as screen
from harness.engine.status import StoreStatus, planned_work
from harness.store import Cell, Store

ASKED = planned_work(trials=2, seeds=(0, 1), trial_units=100.0, final_units=50.0)
OURS = [
    cell(variant, task, asked=ASKED)
    for task in ("digits", "fashion")
    for variant in ("linear", "vpt")
]


@pytest.fixture
def cells() -> list[Cell]:
    return OURS


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Four cells, two trials and two seeds each, nothing done yet."""
    found = Store(tmp_path / "results.db")
    found.add_cells(OURS)
    return found


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds")


def done(of: Cell, store: Store, *seconds_ago: float) -> None:
    """Both trials, and a final run for each of `seconds_ago`."""
    store.add_trials([trial(of, number) for number in range(2)])
    store.add_results(
        [result(of, seed, created=ago(seconds)) for seed, seconds in enumerate(seconds_ago)]
    )


def text_of(status: StoreStatus, width: int = 100, height: int | None = None) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(screen.picture(status, height))
    return console.file.getvalue()  # type: ignore[attr-defined]
