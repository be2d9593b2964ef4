"""Parses the text of flags. Imports nothing heavy."""

import re
from pathlib import Path

from harness.errors import BadInput

DEFAULT_STORE = "sqlite:///results/harness.db"
DEFAULT_METHODS = "linear,vpt,vpt-deep,ivpt"


def path(text: str | Path) -> Path:
    """As typed, with a leading `~` expanded, which shells leave in `--flag=~/x` and `NAME=~/x`.
    Raises `BadInput`."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise BadInput(
            f"{text}: {str(error).rstrip('.')[:100]}. Write the path without ~."
        ) from None


def backbone(text: str) -> str:
    """`NAME`, or `NAME=FILE` with the file's absolute path. Raises `BadInput`."""
    name, equals, file = text.partition("=")
    return f"{name}={path(file).absolute()}" if file else name + equals


def method_file(text: str) -> str:
    """`FILE.py:CLASS` with the file's absolute path; any other name of a method unchanged. Raises
    `BadInput`."""
    file, colon, attribute = text.rpartition(":")
    return f"{path(file).absolute()}:{attribute}" if colon and file.endswith(".py") else text


def seeds(text: str | None, flag: str = "--seeds") -> tuple[int, ...] | None:
    """`0,1,2`, without repeats; None if not given. Raises `BadInput`."""
    if text is None:
        return None
    try:
        numbers = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise BadInput(f"{flag} {text}: write whole numbers, such as 0,1,2.") from None
    if any(seed < 0 or seed >= 2**31 for seed in numbers):
        raise BadInput(f"{flag} {text}: seeds must be from 0 to 2147483647.")
    return numbers


def methods(text: str | None) -> list[str] | None:
    """`linear,ivpt(da=false,prompts=50)` as its parts."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text)] if text else None
