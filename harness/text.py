"""Text fit to be shown: names, labels and reasons come from users' files and other people's
stores."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType


def plain(text: str) -> str:
    """Without control characters."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+", " ", text)


def visible(text: str) -> str:
    """A name, unchanged if it is printable ASCII; else escaped, since other characters may look
    like something else, or be invisible."""
    return text[:200] if text.isascii() and text.isprintable() else ascii(text[:200])


def printable(text: str) -> str:
    """With invisible characters escaped, such as `\\u200b`."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def first_few(items: Sequence[str], most: int = 3) -> str:
    """`a, b, c and 12 more`."""
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def some(count: int, name: str) -> str:
    """`1 result`, `12,000 results`."""
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def rendered(content: "RenderableType", width: int | None = None) -> str:
    """`content` as printed by rich, in plain text. `width`: of a line; None: the terminal's."""
    import io

    from rich.console import Console

    text = io.StringIO()
    # a notebook's kernel asks for colours in its environment
    plain_console = Console(
        file=text,
        width=width or Console().width,
        force_jupyter=False,
        force_terminal=False,
        color_system=None,
    )
    plain_console.print(content)
    return text.getvalue()


def preformatted(content: "RenderableType") -> str:
    """`content` as printed by rich, as HTML with fixed width, for a notebook."""
    from html import escape

    return f"<pre>{escape(rendered(content, 110).rstrip())}</pre>"


def one_of(names: Iterable[str]) -> str:
    """`a, b or c`."""
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last
