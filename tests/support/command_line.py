"""`harness` in this process."""

import shlex
import sys
from typing import Any

import pytest
import typer

from harness.cli import main as cli


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Runs a command; its exit code, which is 1 for a message in its place, as Python has it."""
    monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def parsed(line: str) -> dict[str, Any]:
    """The flags and arguments of a command line, by the names of parameters, without running it or
    reading what it names. Raises what a parser of flags raises."""
    words = shlex.split(line)
    assert words[0] == "harness", line
    command: Any = typer.main.get_command(cli.app)
    path = []
    words = [word for word in words[1:] if word not in ("--quiet", "--no-color")]
    while hasattr(command, "commands") and words and words[0] in command.commands:
        path.append(words[0])
        command, words = command.commands[words[0]], words[1:]
    context = command.make_context(" ".join(path) or "harness", [], resilient_parsing=True)
    context.resilient_parsing = False
    values, rest, _ = command.make_parser(context).parse_args(args=list(words))
    assert not rest, f"{line}: {rest}"
    for parameter in command.params:
        if parameter.required:
            assert values.get(parameter.name) not in (None, ()), f"{line}: no {parameter.name}"
    if hasattr(command, "commands"):
        assert values, f"{line}: no such command"
    return values
