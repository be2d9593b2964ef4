"""What one sees where there is no terminal: lines, and never a long silence."""

import io
import re
import time
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from driving import wait_for
from rich.console import Console

from harness.engine import progress as module
from harness.engine.progress import ProgressView


def test_a_line_comes_where_something_changed_else_one_a_minute():
    """By a clock of our own, as the view's thread looks at it."""
    out, now, lines = io.StringIO(), 0.0, []
    view = ProgressView(Console(file=out), clock=lambda: now)
    view.stage("loading")
    progress = scheduler([])

    def pass_until(end: float) -> list[float]:
        nonlocal now
        before = len(lines)
        while now < end:
            now += module.LOOK
            view.break_silence()
            lines.extend([now] * (len(out.getvalue().splitlines()) - 1 - len(lines)))
        return lines[before:]

    (alone,) = pass_until(100)
    assert 60 < alone < 62
    assert out.getvalue().splitlines()[1] == "loading ... 60 s"
    view.show(progress, SimpleNamespace(tasks=(), variants=()))  # type: ignore[arg-type]
    assert pass_until(110) == [now - 10 + module.LOOK]
    progress.ended["complete"] += 1
    assert pass_until(120) == [now - 10 + module.LOOK]
    progress.order.left = 0.5  # time goes on, nothing ends: an estimate isn't news
    assert all(later - sooner > 60 for sooner, later in pairwise([now - 9.5, *pass_until(300)]))
    for _ in range(100):
        progress.ended["complete"] += 1
        view.break_silence()
        now += 0.1
    assert len(out.getvalue().splitlines()) - 1 - len(lines) in (2, 3)


def test_the_time_remaining_follows_from_each_methods_own_speed():
    """A linear probe, done first, says little of what trains, nor does the workers' start."""
    now = 0.0
    view = ProgressView(Console(file=io.StringIO()), clock=lambda: now)
    running = scheduler([])
    running.order.left = 1000.0
    view.show(running, SimpleNamespace(tasks=(), variants=()))  # type: ignore[arg-type]
    view.show_workers(2)
    now = 30.0
    running.order.left, running.order.seconds_of_work = 990.0, 500.0
    assert view._left() == ""  # a hundredth is done
    running.order.left = 960.0
    assert view._left() == ", about 4 min left"  # 250 s; by the clock alone 12 minutes
    now = 200.0
    assert view._left() == ", about 80 s left"
    now = 400.0
    assert view._left() == ", about 0 s left"
    running.order.left, running.order.seconds_of_work = 500.0, 240.0
    assert view._left() == ", about 2 min left"
    running.elsewhere = {"cell": "another driver"}  # its share isn't known
    assert view._left() == ", about 7 min left"


def scheduler(cells: list) -> SimpleNamespace:
    return SimpleNamespace(
        cells=cells,
        in_flight={},
        ended=Counter(),
        wanted=5,
        order=SimpleNamespace(left=1.0, seconds_of_work=None),
        elsewhere={},
    )


def test_plain_lines_come_even_where_nothing_happens(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "GAP", 0.0)
    monkeypatch.setattr(module, "SILENCE", 0.0)
    monkeypatch.setattr(module, "LOOK", 0.01)
    out = io.StringIO()
    with ProgressView(Console(file=out)) as view:
        view.stage("loading")
        wait_for(lambda: len(out.getvalue().splitlines()) > 2, seconds=30)
    assert all(line.startswith("loading ...") for line in out.getvalue().splitlines())


@pytest.mark.parametrize(("width", "first"), [(120, "method"), (60, "task")])
def test_a_grid_that_is_too_wide_is_turned(width: int, first: str):
    tasks = tuple(f"quite-a-long-name-{number}" for number in range(5))

    class Cell:
        failures, scores, running, open, done_trials, changes = {}, {}, (), 0, 1, 0
        missing_seeds = (0,)

        def __init__(self, task: str):
            method = SimpleNamespace(constant_features=False)
            variant = SimpleNamespace(label="vpt", method=method)
            self.planned = SimpleNamespace(
                variant=variant, card=SimpleNamespace(name=task), trials=4, seeds=(0,)
            )

    view = ProgressView(Console(file=io.StringIO(), width=width))
    view.scheduler = scheduler([Cell(task) for task in tasks])  # type: ignore[assignment]
    view.plan = SimpleNamespace(tasks=tasks, variants=("vpt",))  # type: ignore[assignment]
    view.started = time.monotonic() - 119.6
    shown = Console(file=io.StringIO(), width=width, record=True)
    shown.print(view._render())
    text = shown.export_text()
    assert text.startswith(first)
    assert all(task in text for task in tasks)
    assert text.count("1/4") == 5
    assert "1:59 elapsed" in " ".join(text.split())
    for number, (done, shown_as) in enumerate(((2, "2/4"), (3, "3/4"))):
        changed: Any = view.scheduler.cells[number]  # type: ignore[union-attr]
        changed.done_trials, changed.changes = done, changed.changes + 1
        shown.print(view._render())
        text = shown.export_text()
        assert (text.count(shown_as), text.count("1/4")) == (1, 4 - number)


def screen(written: str) -> list[str]:
    """What a terminal shows of what was written to it: the few codes that a live view uses."""
    lines, row, column = [""], 0, 0
    for code in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|.|\n", written, re.DOTALL):
        if code == "\r":
            column = 0
        elif code == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif code.startswith("\x1b") and code.endswith("A"):
            row -= int(code[2:-1] or 1)
        elif code == "\x1b[2K":
            lines[row] = ""
        elif not code.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + code + lines[row][column + 1 :]
            column += 1
        else:
            assert code[-1] in "mhl", f"unknown: {code!r}"  # colours, and the cursor's being seen
    return lines


def test_a_terminal_gets_a_live_view_that_leaves_nothing_behind():
    out = io.StringIO()
    with ProgressView(Console(file=out, force_terminal=True, width=80)) as view:
        view.stage("loading")
        wait_for(lambda: "loading" in out.getvalue(), seconds=30)
        view.print_line("Warning: this stays")
        before = out.getvalue()
    assert any("loading" in line for line in screen(before))
    assert "".join(screen(out.getvalue())) == "Warning: this stays"
