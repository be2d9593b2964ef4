"""What one sees where there is no terminal: lines, and never a long silence."""

import io
import time
from collections import Counter
from types import SimpleNamespace

import pytest
from rich.console import Console

from harness.engine import progress as module
from harness.engine.progress import ProgressView


def test_plain_lines_come_even_where_nothing_happens(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SILENCE", 0.2)
    out = io.StringIO()
    with ProgressView(Console(file=out)) as view:
        view.stage("loading")
        time.sleep(1.8)
    lines = out.getvalue().splitlines()
    assert lines[0] == "loading ..."
    assert len(lines) >= 2
    assert all(line.startswith("loading") for line in lines)


@pytest.mark.parametrize(("width", "first"), [(120, "method"), (60, "task")])
def test_a_grid_that_is_too_wide_is_turned(width: int, first: str):
    tasks = tuple(f"quite-a-long-name-{number}" for number in range(5))

    class Cell:
        failures, scores, running, open, done_trials = {}, {}, (), 0, 1
        missing_seeds = (0,)

        def __init__(self, task: str):
            method = SimpleNamespace(constant_features=False)
            variant = SimpleNamespace(label="vpt", method=method)
            self.planned = SimpleNamespace(
                variant=variant, card=SimpleNamespace(name=task), trials=4, seeds=(0,)
            )

    view = ProgressView(Console(file=io.StringIO(), width=width))
    view.scheduler = SimpleNamespace(
        cells=[Cell(task) for task in tasks],
        in_flight={},
        ended=Counter(),
        wanted=5,
        order=SimpleNamespace(left=1.0),
        elsewhere={},
    )  # type: ignore[assignment]
    view.plan = SimpleNamespace(tasks=tasks, variants=("vpt",))  # type: ignore[assignment]
    view.started = time.monotonic() - 119.6
    shown = Console(file=io.StringIO(), width=width, record=True)
    shown.print(view._render())
    text = shown.export_text()
    assert text.startswith(first)
    assert all(task in text for task in tasks)
    assert text.count("1/4") == 5
    assert "1:59 elapsed" in " ".join(text.split())


def test_silence_is_shorter_than_five_seconds():
    assert module.SILENCE + 0.5 < 5


def test_a_terminal_gets_a_live_view_that_leaves_nothing_behind():
    out = io.StringIO()
    with ProgressView(Console(file=out, force_terminal=True, width=80)) as view:
        view.stage("loading")
        time.sleep(0.5)
    assert "loading" in out.getvalue()
