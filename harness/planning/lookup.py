"""The class that a name stands for: a registered one, or `FILE.py:CLASS`."""

import shlex
from typing import TYPE_CHECKING, Any

from harness.errors import BadInput, nearest, unknown
from harness.io import flags
from harness.planning import registry, user_errors
from harness.planning.registry import EVERYTHING, entries, families, is_ours, missing, registered
from harness.planning.source import Code, imported, of_class, of_file

if TYPE_CHECKING:
    from harness.training.method import Method

RENAMED = {"adapter": "adaptformer", "bias": "bitfit"}
"""Methods that had another name."""

OWN_METHODS = (
    "A method in a file is FILE.py:CLASS; one that was registered as an entry point is known once"
    " its package is installed again."
)


def find(name: str) -> "tuple[str, type[Method], Code | None]":
    """The name that its results have, the class, and its code unless it is one of ours. Raises
    `BadInput`."""
    from harness.training.method import Method

    if ".py:" in name:
        file, _, attribute = name.rpartition(":")
        code = of_file(flags.path(file))
        value = getattr(_module_of(code, file), attribute, None)
        if not (isinstance(value, type) and issubclass(value, Method)):
            if value is None:
                raise BadInput(
                    f"{file} has no method '{attribute}', a subclass of"
                    f" harness.Method{_others(_module_of(code, file))}."
                )
            kind = "a plain nn.Module" if _is_module(value) else "not a method"
            raise BadInput(
                f"{name} is {kind}: make it a subclass of harness.Method, with"
                " forward(self, images, read)."
            )
        called = getattr(value, "name", attribute)
        if called in registered():
            whose = "" if "name" in vars(value) else f", inherited from {value.__mro__[1].__name__}"
            raise BadInput(
                f"{name} is named '{called}'{whose}, like a registered method: give the class a"
                " different `name`."
            )
        return called, value, code
    known = registered()
    if name.endswith(".py"):
        code = of_file(flags.path(name))
        raise BadInput(f"{name}: add the class, {name}:CLASS{_others(_module_of(code, name))}.")
    if name in RENAMED and name not in known:
        raise BadInput(f"the method '{name}' is called {RENAMED[name]} now.")
    if name not in known:
        names = [*known, *families(), EVERYTHING]
        error = unknown("method", name, names)
        raise error if nearest(name, names) else BadInput(f"{error} {OWN_METHODS}")
    if len(others := {entry.value for entry in entries() if entry.name == name}) > 1:
        raise BadInput(
            f"method '{name}' is registered by {' and by '.join(sorted(others))}: uninstall one of"
            " these packages."
        )
    try:
        method = known[name].load()
    except Exception as error:  # somebody else's package may fail in any way
        raise BadInput(
            f"method '{name}' can't be imported from {known[name].value}: {type(error).__name__}:"
            f" {error}."
        ) from error
    return name, method, None if is_ours(method) else of_class(method)


def check_packages(name: str, method: "type[Method]") -> None:
    """Raises a `BadInput` that says how to install the packages that a method lacks."""
    if sources := missing(method):
        absent = [package for package in method.packages if not registry.is_installed(package)]
        raise BadInput(
            f"method '{name}' needs {' and '.join(absent)}: pip install {shlex.join(sources)}."
        )


def _module_of(code: Code, file: str) -> Any:
    try:
        return imported(code)
    except BadInput:
        raise
    except SystemExit as error:
        raise BadInput(
            f"{file} ends Python while it is imported (SystemExit: {error};"
            f" {user_errors.place(error)}): put its script part under `if __name__ =="
            ' "__main__":`.'
        ) from error
    except Exception as error:  # the user's code may fail in any way
        message = (
            user_errors.line(error)
            if not isinstance(error, ValueError)
            else f"{type(error).__name__}: {user_errors.line(error)}"
        )
        if isinstance(error, ModuleNotFoundError) and str(error.name).split(".")[0] in (
            "methods",
            "harness",
        ):
            message += (
                f"; '{str(error.name).split('.')[0]}' is this harness's own package, so rename"
                " yours"
            )
        raise BadInput(f"{file} can't be imported: {message}.") from error


def _is_module(value: Any) -> bool:
    from torch import nn

    return isinstance(value, type) and issubclass(value, nn.Module)


def _others(module: Any) -> str:
    """A hint with the methods in a file, for a user who named another."""
    from harness.training.method import Method

    names = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Method)
    ]
    here = [name for name in names if vars(module)[name].__module__ == module.__name__]
    return f". It has {', '.join(here)}" if here else ""
