"""A store with a run's cells, of which it says what was asked for."""

from pathlib import Path

import pytest
from made_up import cell

from harness.store import Cell, Store
from harness.watch.status import asked

ASKED = asked(trials=2, seeds=(0, 1), trial_units=100.0, final_units=50.0)
OURS = [cell(variant, task, asked=ASKED) for task in ("digits", "fashion") for variant in ("linear", "vpt")]


@pytest.fixture
def cells() -> list[Cell]:
    return OURS


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Four cells, two trials and two seeds each, nothing done yet."""
    found = Store(tmp_path / "results.db")
    found.add_cells(OURS)
    return found
