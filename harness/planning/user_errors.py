"""Reports the line of the user's own code that an exception came from, instead of a page of the
engine's."""

import traceback

from harness.io.commands import near
from harness.planning.source import is_installed

LONGEST = 20_000
"""Characters of a traceback's end that are kept."""


def place(error: BaseException) -> str | None:
    """`mine.py:12, in forward`: the last frame that is neither Python's, nor an installed
    package's, nor ours; None if there is none."""
    if isinstance(error, SyntaxError) and error.filename and not is_installed(error.filename):
        return f"{near(error.filename)}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not is_installed(frame.filename)
    ]
    if not frames:
        return None
    last = frames[-1]
    return f"{near(last.filename)}:{last.lineno}" + (
        f", in {last.name}" if last.name != "<module>" else ""
    )


def line(error: BaseException, longest: int = 400) -> str:
    """`KeyError: 'layer' (mine.py:12, in __init__)`; for a `ValueError` only its text, which is
    written for the user."""
    message = " ".join(str(error).split()).rstrip(".")
    if not isinstance(error, ValueError) or isinstance(error, UnicodeError) or not message:
        message = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if len(message) > longest:
        message = message[: longest - 3] + "..."
    where = place(error)
    return f"{message} ({where})" if where else message


def full_traceback(error: BaseException) -> str:
    """The traceback, or the end of a long one."""
    text = "".join(traceback.format_exception(error)).rstrip()
    return (
        text
        if len(text) <= LONGEST and text.startswith("Traceback")
        else f"Traceback (its end):\n...{text[-LONGEST:]}"
    )
