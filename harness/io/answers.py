"""Answers that follow from code and files alone, kept in the cache folder, so that the next command
needn't import torch to give them again.

An answer is kept with every file that was imported until then, in whatever package, and it is given
again only while each of them is the same one, unchanged (size, times and inode, of which no program
sets the time of change), is still what an import of its name would find, and no file has come or
gone beside it. So it never outlives an edit, an update, or a package that hides another. Where that
can't be said, as of a file that changed after this process had started, nothing is kept.
"""

import hashlib
import json
import os
import sys
import sysconfig
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import BadInput
from harness.io.atomic import placing
from harness.io.resources import cache_dir

MANY = 32
"""Answers that are kept; the oldest are deleted."""

_STARTED = time.time_ns() - 2 * 10**9
"""What was changed later than this may differ from what this process has read of it. Clocks of file
systems may be behind by less than two seconds."""

_PATH = list(sys.path)
"""As this process started."""

Stamp = tuple[int, int, int, int]


def recalled(kind: str, of: object) -> Any:
    """The answer that was kept for `of`, values for JSON; None if there is none that holds."""
    try:
        kept = json.loads(_place(kind, of).read_bytes())
        if _holds(kept):
            return kept["answer"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    return None


def keep(
    kind: str,
    of: object,
    answer: object,
    files: Iterable[Path] = (),
    apart: Collection[str] = (),
) -> None:
    """Keeps an answer, if it can be said what it depends on and the cache can be written.

    `files`: those that it was computed from, beside the code. `apart`: modules whose text is part
    of `of`.
    """
    depends = _depends(files, apart)
    if depends is None:
        return
    path = _place(kind, of)
    with suppress(OSError, BadInput):
        path.parent.mkdir(parents=True, exist_ok=True)
        with placing(path) as part:
            part.write_text(json.dumps({**depends, "answer": answer}), encoding="ascii")
        kept = sorted(path.parent.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        for old in kept[:-MANY]:
            old.unlink(missing_ok=True)


def _place(kind: str, of: object) -> Path:
    here = [sys.version, sys.prefix, list(sys.flags), of]
    digest = hashlib.sha256(json.dumps(here).encode()).hexdigest()
    return cache_dir() / "answers" / f"{kind}-{digest[:40]}.json"


def _depends(files: Iterable[Path], apart: Collection[str]) -> dict[str, Any] | None:
    """What has to stay as it is, as `_holds` reads it; None if that isn't known."""
    modules = dict(sys.modules)
    sources = _sources(modules, apart)
    code: dict[str, dict[str, Stamp]] = {}
    tops: dict[str, list[str]] = {}
    for path in (*sources, *map(os.path.abspath, files)):
        stamp = _stamp(path)
        if stamp is None:
            return None
        folder, _, name = path.rpartition(os.sep)
        code.setdefault(folder, {})[name] = stamp
    for name in {name.partition(".")[0] for name in modules} - set(apart) - _APART:
        if _of_python(modules.get(name)) or name not in modules:
            continue
        found = _found(name)
        if found is not None:
            tops[name] = found
        elif getattr(modules[name], "__file__", None) not in sources:
            return None  # made by hand, or by a finder of its own; not in a place added since then
    listings: dict[str, str] = {}
    for folder in {*filter(_may_grow, map(os.path.dirname, sources)), *_installed()}:
        listed = _listing(folder, sources)
        if listed is None:
            return None
        listings[folder] = listed
    return {"code": code, "tops": tops, "listings": listings}


def _holds(kept: dict[str, Any]) -> bool:
    for folder, files in kept["code"].items():
        for name, stamp in files.items():
            if (now := _stamp(f"{folder}{os.sep}{name}")) is None or list(now) != stamp:
                return False
    return all(_listing(folder) == listed for folder, listed in kept["listings"].items()) and all(
        _found(name) == found for name, found in kept["tops"].items()
    )


_APART = {"__main__", "__mp_main__"}
"""What an import doesn't find by its name."""


def _sources(modules: dict[str, ModuleType], apart: Collection[str]) -> set[str]:
    """The files of what was imported, without Python's own and of those in `apart`."""
    files = set()
    for name, module in modules.items():
        file = getattr(module, "__dict__", {}).get("__file__")
        # a relative one is a name that was made up, as that of `torch.ops`
        if isinstance(file, str) and os.path.isabs(file) and name not in apart:
            files.add(file)
    return {file for file in files if not _is_pythons(file)}


def _of_python(module: object) -> bool:
    """Whether a module is of Python itself: built in, or of the standard library."""
    spec = getattr(module, "__spec__", None)
    if not isinstance(spec, ModuleSpec):
        return True  # an object that stands for a module, such as `six.moves`
    return (not spec.submodule_search_locations and not spec.has_location) or (
        spec.origin is not None and _is_pythons(spec.origin)
    )


def _found(name: str) -> list[str] | None:
    """Where an import of a top-level name would find it as this process started: what was imported
    since may have changed the path, as Ray does."""
    try:
        places = ((one, _PATH if one is PathFinder else None) for one in sys.meta_path)
        found = (finder.find_spec(name, path) for finder, path in places)
        spec = next((spec for spec in found if spec is not None), None)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    return [spec.origin or "", *map(str, spec.submodule_search_locations or ())]


@cache
def _pythons() -> tuple[str, ...]:
    places = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    return tuple(f"{place}{os.sep}" for place in places)


def _is_pythons(path: str) -> bool:
    return path.startswith(_pythons()) and not _is_installed(path)


def _is_installed(path: str) -> bool:
    return f"{os.sep}site-packages" in path or f"{os.sep}dist-packages" in path


def _installed() -> list[str]:
    """Folders of installed packages: an installation, or a removal, changes their names."""
    return [path for path in sys.path if _is_installed(path) and os.path.isdir(path)]


def _may_grow(folder: str) -> bool:
    """Whether files come and go there by themselves: not inside of an installed package."""
    return not _is_installed(folder)


def _stamp(path: str) -> Stamp | None:
    """Changes with the file. None where it may have changed since this process started."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if max(found.st_mtime_ns, found.st_ctime_ns) > _STARTED:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _listing(folder: str, imported: Collection[str] = ()) -> str | None:
    """Of the names of what can be imported from a folder. None where one may have come since this
    process started, `imported` files from there apart.

    What comes changes the folder's time, as a cache of Python's does too, and has itself a time of
    change that no program sets.
    """
    try:
        entries = [entry for entry in os.scandir(folder) if _importable(entry.name)]
        late = not _is_installed(folder) and os.stat(folder).st_mtime_ns > _STARTED
        for entry in entries if late else ():
            if entry.stat(follow_symlinks=False).st_ctime_ns > _STARTED and not any(
                path.startswith(f"{entry.path}{os.sep}") for path in imported
            ):
                return None
    except OSError:
        return None
    names = "\n".join(sorted(entry.name for entry in entries))
    return hashlib.sha256(names.encode()).hexdigest()


def _importable(name: str) -> bool:
    if name == "__pycache__":
        return False
    return name.endswith((".py", ".so")) or "." not in name or _packed(name)


def _packed(name: str) -> bool:
    return name.endswith((".dist-info", ".egg-info", ".egg-link", ".pth"))
