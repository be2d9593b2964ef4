"""What one sees where there is no terminal: lines, and never a long silence."""

import io
import time

import pytest
from rich.console import Console

from harness.orchestrate import view as module
from harness.orchestrate.view import View


def test_plain_lines_come_even_where_nothing_happens(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SILENCE", 0.2)
    out = io.StringIO()
    with View(Console(file=out)) as view:
        view.stage("loading")
        time.sleep(1.8)
    lines = out.getvalue().splitlines()
    assert lines[0] == "loading ..."
    assert len(lines) >= 2
    assert all(line.startswith("loading") for line in lines)


def test_silence_is_shorter_than_five_seconds():
    assert module.SILENCE + 0.5 < 5


def test_a_terminal_gets_a_live_view_that_leaves_nothing_behind():
    out = io.StringIO()
    with View(Console(file=out, force_terminal=True, width=80)) as view:
        view.stage("loading")
        time.sleep(0.5)
    assert "loading" in out.getvalue()
