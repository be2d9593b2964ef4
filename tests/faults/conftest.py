"""What the tests of faults share: a protocol with a grid, whose rows an unbroken run must equal
number by number."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from driving import OUTAGES

GRID = """
title = "a small grid"
optimizer = "adamw"
epochs = 2
warmup_epochs = 1
batch_size = 8
seeds = [0, 1]
sampler = "grid"
score_every = 1
space.base_lr = { choices = [1.0, 0.7, 0.5, 0.3, 0.2, 0.1] }
space.weight_decay = { choices = [0.0] }
method_space = { prompts = { choices = [2, 4] } }
"""
"""12 points: `vpt-deep` and `ivpt` try each once, in this order."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if OUTAGES:
        terminalreporter.section("until the next trial came through")
        for fault, seconds in OUTAGES:
            terminalreporter.line(f"{seconds:6.1f} s  {fault}")


@pytest.fixture
def grid(tiny):
    tiny.protocol.write_text(GRID)
    return tiny


@pytest.fixture
def make_grid(make_tiny, tmp_path: Path) -> Callable[[], Any]:
    """More and more of them."""

    def make():
        made = make_tiny(Path(tempfile.mkdtemp(dir=tmp_path)))
        made.protocol.write_text(GRID)
        return made

    return make
