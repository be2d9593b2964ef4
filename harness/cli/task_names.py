"""Tasks by position: `harness run digits` is `harness run --tasks digits`, and so for every command
with `--tasks` whose positions mean nothing else."""

import inspect
from typing import Annotated, Any

import typer

from harness.cli import complete
from harness.errors import BadInput

TaskArguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TASK",
        help="Tasks; see `harness list tasks`. Same as --tasks.",
        autocompletion=complete.task,
    ),
]
PARAMETER = inspect.Parameter(
    "named", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=TaskArguments
)
"""What such a command has beside its own parameters."""


def take(context: typer.Context, values: dict[str, Any]) -> None:
    """Moves the tasks that were named by position to those of `--tasks`. They replace those of a
    config, as every flag that is typed does. Raises `BadInput` for what can't be a task."""
    named = values.pop(PARAMETER.name)
    if not named:
        return
    for name in named:
        _check(name)
    source: Any = context.get_parameter_source("tasks")
    by_flag = [values["tasks"]] if source.name == "COMMANDLINE" else []
    values["tasks"] = context.params["tasks"] = ",".join([*named, *by_flag])
    source = context.get_parameter_source(PARAMETER.name)
    context.set_parameter_source("tasks", source)  # for --save-config


def _check(name: str) -> None:
    """Raises `BadInput` for the name of a method or a suite, which have flags of their own."""
    from harness.planning.registry import registered
    from harness.tasks.cards import load_cards, load_suites

    if name in load_cards():
        return
    if name in load_suites():
        raise BadInput(f"'{name}' is a suite, not a task: write --suite {name}.")
    method = name.partition("(")[0]
    if method in registered() or ".py:" in name:
        raise BadInput(f"'{name}' is a method, not a task: write --methods '{name}'.")
