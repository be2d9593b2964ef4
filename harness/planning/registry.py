"""The methods that packages register: ours and others', by name and by family."""

import functools
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from harness.planning.declaration import own_arguments

if TYPE_CHECKING:
    from harness.training.method import Method

T = TypeVar("T")
GROUP = "harness.methods"
"""The entry-point group that built-in methods and other packages' methods register in."""

EVERYTHING = "everything"
"""In a list of methods, all that are registered."""


def registered() -> dict[str, EntryPoint]:
    """Built-in and third-party methods by name, not yet imported."""
    return {entry.name: entry for entry in entries()}


def entries() -> tuple[EntryPoint, ...]:
    """All that packages register as methods. Read anew where the folders that Python imports from
    are others, or something was installed into one."""
    folders = ((folder, _changed(folder)) for folder in sys.path)
    return _entries(tuple(folders))


def _changed(folder: str) -> int:
    try:
        return Path(folder or ".").stat().st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=1)
def _entries(folders: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


def built_in(name: str) -> "type[Method] | None":
    """The class of a method of this harness, None for any other name: somebody else's package may
    fail in any way, and isn't imported."""
    entry = registered().get(name)
    if entry is None or not entry.value.startswith("methods."):
        return None
    method = entry.load()
    return method if is_ours(method) else None


def is_ours(method: type) -> bool:
    """Whether a class belongs to the package `methods` of this harness."""
    return method.__module__.partition(".")[0] == "methods"


def missing(method: "type[Method]") -> list[str]:
    """What pip would install the packages by that a method needs and that aren't installed."""
    return [source for name, source in method.packages.items() if not is_installed(name)]


def is_installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def names_family(method: "type[Method]") -> bool:
    """Whether a method's name is its family's too: the bare name then stands for the family, and
    the method is written with brackets."""
    return bool(method.family) and getattr(method, "name", None) == method.family


def kinds_of(method: "type[Method]") -> dict[str, str]:
    """Of a method that has its family's name, and whose first argument is a word that says what it
    is: that argument with its default, as `{"type": "lora"}`. Empty for any other.

    Such a method is several: each of its variants says which, and a family has those that stand
    there under a name of their own.
    """
    first = next(iter(own_arguments(method).values()), None) if names_family(method) else None
    if first is None or not isinstance(first.default, str) or first.name in method.search_space:
        return {}
    return {first.name: first.default}


def families() -> "dict[str, list[str]]":
    """Names of the registered methods by family, in alphabetical order; without those that have
    none, that can't be imported, that need a package which isn't installed, or that are several
    (`kinds_of`)."""
    groups: dict[str, list[str]] = {}
    found = of_registered(lambda m: "" if missing(m) or kinds_of(m) else m.family)
    for name, family in found.items():
        groups.setdefault(family, []).append(name)
    return dict(sorted(groups.items()))


def wanting() -> dict[str, tuple[str, list[str]]]:
    """The registered methods that need what isn't installed: family, and what pip would install."""

    def wants(method: "type[Method]") -> tuple[str, list[str]] | None:
        sources = [] if kinds_of(method) else missing(method)
        return (method.family, sources) if sources else None

    return of_registered(wants)


def of_registered(asked: "Callable[[type[Method]], T | None]") -> dict[str, T]:
    """What is asked of each registered method that can be imported, by name in alphabetical order,
    where the answer isn't empty."""
    found: dict[str, T] = {}
    for name, entry in sorted(registered().items()):
        try:
            answer = asked(entry.load())
        except Exception:  # somebody else's package may fail in any way
            continue
        if answer:
            found[name] = answer
    return found
