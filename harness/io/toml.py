"""TOML files as validated objects: cards, suites, protocols, recipes, backbones' cards."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

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
    """Texts, numbers and truths as a file, a line each: TOML writes them as JSON does. Anything
    else is written as its text."""
    lines = [
        f"{name} = {json.dumps(value if isinstance(value, bool | int | float) else str(value))}"
        for name, value in values.items()
    ]
    return "".join(f"{line}\n" for line in lines)


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
    loc = [part for part in first["loc"] if part != "[key]"]
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
