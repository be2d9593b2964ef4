"""TOML files as validated objects: cards, suites, protocols, recipes, backbones' cards."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from pydantic import BaseModel, ValidationError

from harness.errors import BadInput, nearest
from harness.text import plain

Model = TypeVar("Model", bound=BaseModel)


def read_toml(what: str, path: Path) -> dict[str, Any]:
    """The fields of a file in UTF-8, with a byte order mark or without. Raises `BadInput`, which
    calls the file a `what`: a card, a protocol."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:  # TOML's and Unicode's are ValueErrors
        raise BadInput(f"{what} {path}: can't be read: {plain(str(error))[:200]}.") from error


def written(values: Mapping[str, Any]) -> str:
    """A file with these values: plain ones a line each, then tables, then lists of tables. What is
    None isn't written; a value that TOML doesn't have, such as a path, is written as its text."""
    plain_ones = {
        key: value
        for key, value in values.items()
        if not isinstance(value, Mapping) and not _are_tables(value)
    }
    lines = _lines(plain_ones)
    for key, value in values.items():
        if key in plain_ones:
            continue
        head, tables = (
            (f"[{key}]", [value]) if isinstance(value, Mapping) else (f"[[{key}]]", value)
        )
        for table in tables:
            lines += ["", head, *_lines(table)]
    return "".join(f"{line}\n" for line in lines)


def _lines(values: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_line(value)}" for key, value in values.items() if value is not None]


def _are_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Mapping)


def _line(value: Any) -> str:
    """In one line: TOML has texts, numbers and truths as JSON has them."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(_lines(cast('Mapping[str, Any]', value)))} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_line, cast('list[Any]', value)))}]"
    return json.dumps(value, ensure_ascii=False, default=str)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else json.dumps(name)


def validated(model: type[Model], fields: Mapping[str, Any], where: str) -> Model:
    """The model with these fields. Raises `BadInput`: `where`, the key, and what is wrong with
    it."""
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        raise BadInput(f"{where}: {first_error(model, error)}") from error


def first_error(model: type[BaseModel], error: ValidationError) -> str:
    """The key and what is wrong with it, as a sentence; for an unknown key, the nearest known
    one."""
    # a misspelt key is more informative than the missing one
    first = min(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")
    loc = [part for part in first["loc"] if not str(part).startswith("[")]
    key = plain(".".join(map(str, loc)))[:100]
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}'.{nearest(str(loc[-1]), _known(model, loc))}"
    message = plain(first["msg"].removeprefix("Value error, "))[:300].rstrip(".")
    return f"{key}: {message}." if key else f"{message}."


def _known(model: type[BaseModel], loc: list[int | str]) -> list[str]:
    """The valid keys of the table with the misspelt one."""
    for part in loc[:-1]:
        if field := model.model_fields.get(str(part)):
            model = next(_models(field.annotation), model)
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
