"""Turns a Python caller's arguments into command-line flags: lists become comma-separated text,
classes become `FILE.py:CLASS`."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.errors import BadInput
from harness.planning.registry import is_ours, registered

if TYPE_CHECKING:
    from harness.training.method import Method


def joined(name: str, value: str | Iterable[object] | int | None) -> str | None:
    """`a,b` for `["a", "b"]`; text unchanged, None if nothing was given. Raises `BadInput`."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, Iterable):
        raise BadInput(f"{name}={value!r}: give a list, or text such as 'a,b'.")
    return ",".join(str(item) for item in value)


def methods(value: "str | type[Method] | Iterable[str | type[Method]]") -> str:
    """In the form of `--methods`. Raises `BadInput` for a class that workers can't import."""
    if isinstance(value, str | type):
        value = [value]
    if not isinstance(value, Iterable):
        raise BadInput(f"methods={value!r}: give names or classes, such as ['linear', 'vpt'].")
    return ",".join(_method(item) for item in value)


def _method(item: object) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, type):
        return method_of_class(item)
    raise BadInput(f"methods: {item!r} is neither a name nor a class.")


def method_of_class(method: type) -> str:
    """The registered name of a class, or its file: a score's key includes the code that produced
    it, and workers import that code. Raises `BadInput` if there is no such file."""
    value = f"{method.__module__}:{method.__qualname__}"
    for name, entry in registered().items():
        if entry.value == value:
            return name
    module = sys.modules.get(method.__module__)
    file = getattr(module, "__file__", None)
    name = method.__name__
    if file is None or not file.endswith(".py"):
        raise BadInput(
            f"{name} is defined in a notebook or at a prompt, where no worker can import it: write"
            f" it to a file (in a notebook, %%writefile {name.lower()}.py) and give"
            f" '{name.lower()}.py:{name}'."
        )
    if getattr(module, name, None) is not method:
        raise BadInput(
            f"{method.__qualname__} isn't a class at the top of {file}, where a worker would look"
            " for it: move it there."
        )
    if "." in method.__module__ or is_ours(method):
        raise BadInput(
            f"{value} is part of a package: register it in the entry-point group harness.methods"
            " and give its name."
        )
    return f"{file}:{name}"


def check_least(name: str, value: object, least: float, integer: bool = False) -> None:
    """Raises `BadInput` for something that isn't a number, or is too small. None: not given."""
    if value is None:
        return
    kinds = int if integer else int | float
    if isinstance(value, bool) or not isinstance(value, kinds) or not value >= least:
        kind = "a whole number" if integer else "a number"
        raise BadInput(f"{name}={value!r}: give {kind} of at least {least:g}.")


def check_not_importing() -> None:
    """Raises `BadInput` if a method's file starts a run while it is imported: every import would
    start another."""
    for name, module in list(sys.modules.items()):
        if name.startswith("user_method_") and not hasattr(module, "__digest__"):
            raise BadInput(
                f"{getattr(module, '__file__', name)} starts a run while it is imported: put that"
                ' under `if __name__ == "__main__":`.'
            )
