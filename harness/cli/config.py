"""A run as a file: `--config` reads flags from a TOML file, `--save-config` writes one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperOption

from harness.errors import BadInput, nearest
from harness.io import flags
from harness.io.atomic import temporary
from harness.io.passwords import masked
from harness.io.toml import read_toml, written

NEVER = ("config", "save_config", "again", "dry_run", "debug", "quiet", "no_color", "help")
"""Parameters that belong to a command as it is typed, not to a run."""


def _from_file(context: typer.Context, file: Path | None) -> Path | None:
    """Makes a file's values the defaults of the flags behind it."""
    if file is not None and not context.resilient_parsing:
        context.default_map = {**(context.default_map or {}), **read(file, context.command)}
    return file


def _from_store(context: typer.Context, again: bool | str, own: str) -> None:
    """As `_from_file`, of the last run of a store; once both flags are known."""
    values = {**context.params, own: again}
    if not values.get("again") or "store" not in values or context.resilient_parsing:
        return
    from harness.planning import configs
    from harness.store import Store

    file = configs.last(Store(values["store"]))
    context.default_map = {**(context.default_map or {}), **read(file, context.command)}


def _again(context: typer.Context, again: bool) -> bool:
    _from_store(context, again, "again")
    return again


def of_store(context: typer.Context, store: str) -> str:
    """The callback of a `--store` that `--again` reads."""
    _from_store(context, store, "store")
    return store


Again = Annotated[
    bool,
    typer.Option(
        "--again",
        help="Repeat the store's last run; flags that are typed win.",
        callback=_again,
        is_eager=True,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="A FILE.toml with flags by their names; flags that are typed win.",
        parser=flags.path,
        callback=_from_file,
        is_eager=True,
    ),
]
SaveConfig = Annotated[
    Path | None,
    typer.Option(
        "--save-config",
        help="Write this command's flags to a FILE.toml for --config.",
        parser=flags.path,
    ),
]


@dataclass(frozen=True)
class ConfigOptions:
    """Flags from a file and to one."""

    config: Config = None
    save_config: SaveConfig = None


def read(file: Path, command: Any) -> dict[str, Any]:
    """Values by the names of a command's parameters. Raises `BadInput` for a file that can't be
    read, an unknown flag, and a value that no flag can have."""
    known = {flag: one for one in command.params if (flag := _flag(one)) is not None}
    values: dict[str, Any] = {}
    for key, value in read_toml("config", file).items():
        name = key.replace("_", "-")
        if name not in known:
            raise BadInput(f"config {file}: unknown flag '{key}'.{nearest(name, known)}")
        parameter = known[name]
        assert parameter.name is not None
        values[parameter.name] = _value(f"config {file}: {key}", parameter, value)
    return values


def _flag(parameter: Any) -> str | None:
    """A flag's name without dashes, where it may stand in a file."""
    if not isinstance(parameter, TyperOption) or parameter.name in NEVER:
        return None
    return next(name for name in parameter.opts if name.startswith("--")).removeprefix("--")


def _value(where: str, parameter: TyperOption, value: Any) -> Any:
    if parameter.is_flag != isinstance(value, bool):
        raise BadInput(f"{where}: write {'true or false' if parameter.is_flag else 'a value'}.")
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return ",".join(map(str, value))
    if not isinstance(value, bool | str | int | float):
        raise BadInput(f"{where}: write a text, a number, or a list of them.")
    return value if isinstance(value, bool) else str(value)


def save(file: Path, context: typer.Context) -> None:
    """Writes the flags that were typed or came from a config. Raises `BadInput`."""
    given = {
        flag: context.params[parameter.name]
        for parameter in context.command.params
        if (flag := _flag(parameter)) is not None
        and parameter.name is not None
        and (source := context.get_parameter_source(parameter.name)) is not None
        and source.name in ("COMMANDLINE", "DEFAULT_MAP")
    }
    for flag, value in given.items():
        if masked(str(value)) != str(value):
            raise BadInput(
                f"--save-config: the password in --{flag} belongs in no file. Leave --{flag} out,"
                " and give it beside --config."
            )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary(file) as part:
            part.write_text(written(given), encoding="utf-8")
            part.replace(file)
    except OSError as error:
        raise BadInput(f"--save-config {file}: {error.strerror or error}.") from error
