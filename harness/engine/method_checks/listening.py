"""Which files are opened while a method's hooks run."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.io.commands import near

NO_DATA = (".py", ".pyc", ".pyi", ".so", ".pth")
ASIDE = ("/proc/", "/sys/", "/dev/")
_listening: list[list[str]] = []
_hooked: list[bool] = []


def watched(call: Callable[..., None], files: list[str]) -> Callable[..., None]:
    """A hook that adds to `files` those, but code, that are opened for reading within it."""

    def watched(*arguments: Any) -> None:
        if not _hooked:
            sys.addaudithook(_heard)
            _hooked.append(True)
        _listening.append(files)
        try:
            call(*arguments)
        finally:
            _listening.remove(files)

    return watched


def _heard(event: str, details: tuple[Any, ...]) -> None:
    if event != "open" or not _listening:
        return
    path, mode = details[0], details[1]
    if not isinstance(path, str | bytes) or (isinstance(mode, str) and set("wax") & set(mode)):
        return
    path = path.decode(errors="replace") if isinstance(path, bytes) else path
    if not (
        path.endswith(NO_DATA)
        or path.startswith(ASIDE)
        or Path(path).is_dir()
        or "site-packages" in path
        or path.startswith(sys.base_prefix)
    ):
        _listening[-1].append(near(path))
