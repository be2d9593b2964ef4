"""How a command is registered: its flags in groups, examples below its help, the flags that every
command has, and tasks by position."""

import inspect
import os
import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from rich.markup import escape
from typer.core import TyperArgument, TyperCommand, TyperGroup
from typer.models import ArgumentInfo, OptionInfo

from harness.cli import shown, task_names
from harness.cli.examples import EXAMPLES
from harness.errors import BadInput, nearest

PANELS = {
    "Methods and tasks": "named methods method suite tasks task backbone protocol kind seeds",
    "Search and training": "trials hparams start_from epochs",
    "Data and pixels": "data_root cards pixels image_size normalize precision allow_overlap",
    "Machines": "workers gpus_per_trial address compile trial_timeout max_hours",
    "Leaderboard": "baseline group sort complete_only budgets columns published",
    "Results": "store keep_large log_json tensorboard allow_gaps",
    "This run as a file": "config save_config again",
    "Output": "dry_run figure x no_caption format output serve port quiet no_color debug",
}
"""Groups of flags in `--help`, by the names of parameters."""
GROUPED_FROM = 10
"""A command with fewer flags has them in one group."""
PLACEHOLDERS = {
    "methods": "LIST",
    "tasks": "LIST",
    "seeds": "LIST",
    "columns": "LIST",
    **dict.fromkeys(
        ("suite", "task", "backbone", "protocol", "pixels", "normalize", "precision", "kind"),
        "NAME",
    ),
    **dict.fromkeys(("hparams", "start_from", "split", "baseline", "sort", "figure", "x"), "NAME"),
    "method": "METHOD",
    "format": "FORMAT",
    "data_root": "DIR",
    "cards": "DIR",
    "tensorboard": "DIR",
    "store": "STORE",
    "address": "ADDRESS",
    "trial_timeout": "SECONDS",
    "max_hours": "HOURS",
    "gpus_per_trial": "SHARE",
}
"""What stands for a flag's value in `--help`, where its type doesn't say it."""
OF_TYPE = {int: "N", float: "X", str: "TEXT", Path: "FILE"}

Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print results and errors alone, no progress.")
]
NoColor = Annotated[
    bool, typer.Option("--no-color", help="Print without colors, as with NO_COLOR=1.")
]
CONTEXT = inspect.Parameter("_context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)


class Command(TyperCommand):
    """A command whose switches have nothing in the place of a value, nor arguments a type."""

    def get_params(self, ctx: Any) -> Any:
        return _without_types(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands; an unknown one is a `BadInput` that suggests the nearest."""

    def get_params(self, ctx: Any) -> Any:
        return _without_types(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if not (name.startswith("-") or ctx.resilient_parsing or name in self.commands):
            path = ctx.command_path
            raise BadInput(
                f"no command `{path} {name}`.{nearest(name, self.commands)} See `{path} --help`."
            )
        return super().resolve_command(ctx, args)


def _without_types(params: Any) -> Any:
    for one in params:
        if getattr(one, "is_flag", False) and one.metavar is None:
            one.metavar = ""
        if isinstance(one, TyperArgument):  # `<list[str]>` beside its name
            one.display_type_rich = lambda ctx: None  # type: ignore[attr-defined]
    return params


def add(app: typer.Typer, path: str, command: Callable[..., Any], panel: str | None = None) -> None:
    """Registers a command under the last word of `path`, such as `results list`."""
    paragraphs = [" ".join(part.split()) for part in inspect.getdoc(command).split("\n\n")]  # type: ignore[union-attr]
    app.command(
        path.rpartition(" ")[2],
        cls=Command,
        help="\n\n".join(paragraphs),
        short_help=re.split(r"(?<=[.]) |[:;] ", paragraphs[0])[0].rstrip("."),
        epilog=epilog(path),
        rich_help_panel=panel,
    )(_with_common_flags(command))


def registering(app: typer.Typer, group: str) -> Callable[[str], Callable[..., Any]]:
    """A decorator for the commands of a group: `@command("list")`."""

    def command(name: str) -> Callable[..., Any]:
        def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
            add(app, f"{group} {name}", function)
            return function

        return decorated

    return command


def epilog(path: str) -> str:
    """A command's examples, as its help shows them."""
    lines = [
        f"  {escape(example)}" + (f"  [dim]# {escape(why)}[/dim]" if why else "")
        for example, why in EXAMPLES[path]
    ]
    return "\n".join(["[bold]Examples[/bold]", *lines])


def _with_common_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with `--quiet` and `--no-color`, and its flags described."""
    hints = get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
    ]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in (("quiet", Quiet), ("no_color", NoColor))
    ]
    infos = [_info(one) for one in own]
    by_position = "tasks" in hints and not any(isinstance(info, ArgumentInfo) for info in infos)
    context = next((one.name for one in own if one.annotation is typer.Context), None)
    if by_position:
        common.append(task_names.PARAMETER)
        common += [CONTEXT] if context is None else []
    in_groups = len([info for info in infos if isinstance(info, OptionInfo)]) >= GROUPED_FROM
    parameters = [_described(parameter, in_groups) for parameter in (*own, *common)]

    @wraps(command)
    def call(*args: Any, quiet: bool, no_color: bool, **values: Any) -> Any:
        show(quiet, no_color)
        if by_position:
            task_names.take(values[context] if context else values.pop(CONTEXT.name), values)
        return command(*args, **values)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def show(quiet: bool, no_color: bool) -> None:
    """What this process prints from now on."""
    shown.quiet = shown.quiet or quiet
    if no_color:
        os.environ["NO_COLOR"] = "1"


def _info(parameter: inspect.Parameter) -> OptionInfo | ArgumentInfo | None:
    if get_origin(parameter.annotation) is not Annotated:
        return None
    kinds = (OptionInfo, ArgumentInfo)
    return next((one for one in get_args(parameter.annotation) if isinstance(one, kinds)), None)


def _described(parameter: inspect.Parameter, in_groups: bool) -> inspect.Parameter:
    """With what stands for its value, and a flag's group."""
    info = _info(parameter)
    if info is None:
        return parameter
    kind = get_args(parameter.annotation)[0]
    changed: dict[str, Any] = {}
    if isinstance(info, OptionInfo):
        changed["rich_help_panel"] = next(
            (
                title
                for title, names in PANELS.items()
                if in_groups and parameter.name in names.split()
            ),
            None,
        )
        named = [one for one in (*get_args(kind), kind) if one in OF_TYPE]
        usual = PLACEHOLDERS.get(parameter.name) or (OF_TYPE[named[0]] if named else None)
    else:
        usual = parameter.name.strip("_").upper()
    changed["metavar"] = usual if info.metavar is None else info.metavar
    return parameter.replace(annotation=Annotated[kind, _copied(info, **changed)])


def _copied(info: OptionInfo | ArgumentInfo, **changed: Any) -> OptionInfo | ArgumentInfo:
    other = object.__new__(type(info))
    other.__dict__.update(info.__dict__, **changed)
    return other
