"""`harness` in this process."""

import sys

import pytest

from harness.cli import main as cli


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Runs a command; its exit code, which is 1 for a message in its place, as Python has it."""
    monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
