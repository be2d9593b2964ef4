"""Method variants: the text `ivpt(da=false,prompts=50)` and the class with fixed arguments that it means."""

import copy
import importlib.util
import re
import shlex
import sys
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import asked, declared, hints
from harness.declared import own_arguments
from harness.errors import BadInput, unknown
from harness.plain import plain

if TYPE_CHECKING:
    from methods.base import Method
    from methods.vit import FrozenViT

GROUP = "harness.methods"
"""The entry-point group that built-in methods and other packages' methods register in."""


@dataclass(frozen=True)
class Variant:
    """A method with some of its arguments fixed; the rest are searched or keep their defaults."""

    method: "type[Method]"
    name: str
    arguments: dict[str, Any]
    origin: str
    """How it was asked for: a registered name, or FILE.py:CLASS."""

    @property
    def label(self) -> str:
        """As the user writes it, arguments sorted: `ivpt(da=false,prompts=50)`."""
        inside = ",".join(f"{key}={_text(value)}" for key, value in sorted(self.arguments.items()))
        return f"{self.name}({inside})" if inside else self.name

    def build(self, vit: "FrozenViT", arguments: Mapping[str, Any]) -> "Method":
        """The method on a copy of `vit`, modules and tensors, that nothing else uses: it may change, hook or overwrite anything of it.

        Raises what the method's constructor raises, and `ValueError` where it changed a part of the backbone that isn't called.
        """
        built = self.method(copy.deepcopy(vit), **arguments)
        built.vit.check()
        return built


def registered() -> dict[str, EntryPoint]:
    """Built-in and third-party methods by name, not yet imported."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def parse(text: str, also: Collection[str] = ()) -> list[Variant]:
    """Variants from a comma-separated list such as `linear,ivpt(da=false),./mine.py:MyPrompt`. Raises `BadInput`.

    `also` names arguments that are the protocol's (`base_lr`) and may be fixed in a variant too.
    """
    variants: dict[str, Variant] = {}
    for part in re.split(r",(?![^(]*\))", text):
        match = re.fullmatch(r"\s*([^()]+?)\s*(?:\((.*)\))?\s*", part, re.DOTALL)
        if not match:
            raise BadInput(f"can't read the method '{part.strip()}': write name or name(argument=value,...).")
        origin, inside = match.groups()
        name, method = _find(origin)
        declared.check(method, origin, also or None)
        variant = Variant(method, name, _arguments(name, method, inside or "", set(also)), origin)
        variants[variant.label] = variant
    return list(variants.values())


def recorded(text: object, given: str | None) -> Variant:
    """The one variant that a row or a checkpoint names with `text`, or that the user has given instead. Raises `BadInput`.

    Whoever made that row or checkpoint chose its text: a .py file is run only where the user names it.
    """
    if given is None and ".py:" in str(text):
        named = plain(str(text))[:200]
        flag = f"--method {shlex.quote(hints.method(named))}"
        raise BadInput(f"it was made by a file of its own, {named}, which would be run: look into it, then add {flag}.")
    found = parse(given or str(text))
    if len(found) != 1:
        raise BadInput(f"'{plain(given or str(text))[:200]}' is not one method.")
    return found[0]


def _find(name: str) -> "tuple[str, type[Method]]":
    from methods.base import Method

    if ".py:" in name:
        file, _, attribute = name.rpartition(":")
        found = getattr(_import_file(asked.path(file)), attribute, None)
        if not (isinstance(found, type) and issubclass(found, Method)):
            raise BadInput(f"{file} has no method '{attribute}': a subclass of methods.base.Method.")
        return getattr(found, "name", attribute), found
    known = registered()
    if name not in known:
        raise unknown("method", name, known)
    try:
        return name, known[name].load()
    except Exception as error:  # somebody else's package may fail in any way
        raise BadInput(f"method '{name}' can't be imported from {known[name].value}: {type(error).__name__}: {error}.") from error


def _import_file(path: Path):
    if not path.is_file():
        raise BadInput(f"no file {path}.")
    module_name = f"user_method_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code may fail in any way
        raise BadInput(f"{path} can't be imported: {type(error).__name__}: {error}.") from error
    return module


def _arguments(name: str, method: "type[Method]", inside: str, also: set[str]) -> dict[str, Any]:
    known, arguments = own_arguments(method), {}
    for item in filter(None, (item.strip() for item in inside.split(","))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not value:
            raise BadInput(f"{name}({inside}): write argument=value, not '{item}'.")
        if key not in known and key not in also:
            raise unknown(f"argument of {name}", key, [*known, *also])
        arguments[key] = _value(value)
        kind = known[key].annotation if key in known else float
        good = {int: type(arguments[key]) is int, float: type(arguments[key]) in (int, float), bool: type(arguments[key]) is bool}
        if not good.get(kind, True):
            raise BadInput(f"{name}: {key} is {kind.__name__}, not '{value}'.")
    try:
        method.check({key: value for key, value in arguments.items() if key in known})
    except ValueError as error:
        raise BadInput(f"{error}.") from error
    return arguments


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text.lower() if text.lower() in ('true', 'false') else text}")["value"]
    except (ValueError, RecursionError):
        return text


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
