"""The examples below each command's help, and how flags stand in it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from command_line import parsed
from typer.testing import CliRunner

from harness.cli.examples import EXAMPLES
from harness.cli.main import app

ROOT = typer.main.get_command(app)


def commands(group: Any = ROOT, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        own = f"{path} {name}".strip()
        if hasattr(command, "commands"):
            yield from commands(command, own)
        else:
            yield own, command


def test_every_command_has_examples_that_are_of_it():
    names = {path for path, _ in commands()}
    assert set(EXAMPLES) == names | {""}
    for path, examples in EXAMPLES.items():
        for line, _ in examples:
            assert line.startswith(f"harness {path}".strip())


@pytest.mark.parametrize("line", [line for of in EXAMPLES.values() for line, _ in of])
def test_an_example_can_be_parsed(line: str):
    parsed(line)


def test_an_example_with_a_wrong_flag_cant():
    with pytest.raises(Exception, match="frob"):
        parsed("harness run --frob 3")
    with pytest.raises(AssertionError, match="no id"):
        parsed("harness show --format json")
    with pytest.raises(AssertionError, match="frob"):
        parsed("harness frob")


@pytest.mark.parametrize("path", ["run", "results list", "show"])
def test_help_ends_with_examples(path: str):
    said = CliRunner().invoke(app, [*path.split(), "--help"], terminal_width=100).output
    assert EXAMPLES[path][0][0] in said.partition("Examples")[2]


def test_help_has_groups_and_no_type_for_a_switch():
    said = CliRunner().invoke(app, ["run", "--help"], terminal_width=100).output
    titles = re.findall(r"^╭─ (.*?) ─", said, re.MULTILINE)
    assert {"Methods and tasks", "Data and pixels", "Machines", "Results", "Output"} <= set(titles)
    assert "<bool>" not in said
    assert re.search(r"--data-root +DIR ", said)


@pytest.mark.parametrize(
    ("path", "flag"),
    [("report", "--suite"), ("predict", "--backbone"), ("reproduce", "--backbone")],
)
def test_help_says_no_default_of_another_command(path: str, flag: str):
    """`report` shows all suites, where `run` runs one."""
    command = dict(commands())[path]
    (option,) = [one for one in command.params if flag in one.opts]
    assert not re.search(r"Default: (mini|the suite's)", option.help)


def test_every_command_can_be_quiet_and_without_color():
    for path, command in commands():
        flags = {flag for one in command.params for flag in one.opts}
        assert {"--quiet", "--no-color"} <= flags, path


def test_one_flag_has_one_meaning():
    """`--tasks` beside `--suite`; `--seeds` and `--data-root` under no other name."""
    for path, command in commands():
        options = [one for one in command.params if hasattr(one, "is_flag")]
        flags = {flag for one in options for flag in one.opts}
        assert not flags & {"--seed", "--from", "--task-names", "--root"}, path
        if "--suite" in flags:
            assert "--tasks" in flags, path
        (trials,) = [one for one in options if "--trials" in one.opts] or [None]
        assert trials is None or not trials.is_flag, path
