from pathlib import Path

import pytest
from submitted import filled, sent, sound

from harness.store import Cell, Store

CELLS = (sound(), sound("linear"), sound("vpt", "fashion"), sound("linear", "fashion"))


@pytest.fixture
def cells() -> tuple[Cell, ...]:
    return CELLS


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two seeds of two methods on two tasks."""
    return filled(tmp_path / "ada.db", CELLS)


@pytest.fixture
def board(tmp_path: Path) -> Path:
    return tmp_path / "submissions"


@pytest.fixture
def ada(board: Path, store: Store) -> Path:
    """Her submission."""
    folder, _ = sent(board, "ada", store)
    return folder
