"""Text in figures: names shortened to fit, and the note below."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from harness.reporting.captions import title_of
from harness.reporting.figures.style import LINE
from harness.reporting.section import Section
from harness.reporting.statistics.common import complete
from harness.text import first_few, plain


def shown(text: str) -> str:
    """Any text on one line, in characters that the font has; others by code point, `U+4E2D`."""
    return "".join(
        character if _drawable(character) else f"U+{ord(character):04X}"
        for character in plain(text)
    )


@cache
def _drawable(character: str) -> bool:
    return (
        font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_char_index(ord(character))
        != 0
    )


def names(variants: Iterable[str], width: int, lines: int = 2) -> dict[str, str]:
    """Each variant's name in at most so many lines of `width` characters; longer ones lose their
    middle, and no two look alike."""
    labels: dict[str, str] = {}
    for variant in variants:
        name = _folded(shown(variant), width, lines)
        number = 1
        while name in labels.values():
            number += 1
            name = _folded(f"{shown(variant)[: width * lines - 8]} #{number}", width, lines)
        labels[variant] = name
    return labels


_COARSE, _FINE = (
    r"[^(,\s]*[,\s]+|\(?[^(,\s]+[,\s]*|\(",
    r"[^(,_\s-]*[,_\s-]+|\(?[^(,_\s-]+[,_\s-]*|\(",
)
"""A name in parts that a line may end after: its arguments, then also what hyphens and underscores
join."""


def _folded(name: str, width: int, lines: int) -> str:
    """The longest cut of a name that fits; a word is broken only where it is wider than a line."""
    for room in range(min(len(name), width * lines), 0, -1):
        cut = (
            name
            if len(name) == room
            else f"{name[: room // 2]}…{name[len(name) - (room - 1) // 2 :]}"
        )
        for pattern in (_COARSE, _FINE):
            folded = _lines(
                [part for word in re.findall(pattern, cut) for part in _chunks(word, width)], width
            )
            if len(folded) <= lines:
                return "\n".join(folded)
    return name


def _lines(parts: Sequence[str], width: int) -> list[str]:
    lines: list[str] = []
    for part in parts:
        if lines and len((lines[-1] + part).rstrip()) <= width:
            lines[-1] += part
        else:
            lines.append(part)
    return [line.strip() for line in lines]


def _chunks(word: str, width: int) -> list[str]:
    return [word[start : start + width] for start in range(0, len(word), width)]


def measured(text: str, size: float = 8) -> tuple[float, float]:
    """Width and height of a text, in points."""
    font = FontProperties(family="DejaVu Sans", size=size)
    lines = text.split("\n")
    return max(
        text_to_path.get_text_width_height_descent(line or " ", font, False)[0] for line in lines
    ), 1.2 * size * len(lines)


def left_out(section: Section) -> list[str]:
    """Which methods have no mean because they lack tasks."""
    _, dropped = complete(section.scores, section.tasks)
    methods = [f"{variant} (lacks {first_few(tasks)})" for variant, tasks in dropped.items()]
    return [f"Left out because they lack scores: {', '.join(methods)}."] if methods else []


_captioned: ContextVar[bool] = ContextVar("captioned", default=True)


@contextmanager
def captions(wanted: bool) -> Iterator[None]:
    """Whether figures that are drawn meanwhile have a note below: a paper has captions of its
    own."""
    before = _captioned.set(wanted)
    try:
        yield
    finally:
        _captioned.reset(before)


def note(figure: Figure, section: Section, lines: Sequence[str], size: float = 7) -> None:
    """Writes below the figure what it shows and what it leaves out, and makes room for that;
    nothing where no caption is wanted."""
    if not _captioned.get():
        return
    width = int(figure.get_figwidth() * 72 / (0.56 * size))
    source = f"{title_of(section)}; {section.seeds} seed{'s' if section.seeds > 1 else ''}."
    remarks = sorted({row.cell.note for row in section.board if row.cell.note})
    wrapped = [
        line for text in (*lines, *remarks, source) for line in textwrap.wrap(shown(text), width)
    ]
    figure.set_figheight(figure.get_figheight() + LINE * size / 8 * len(wrapped) + 0.06)
    figure.supxlabel(
        "\n".join(wrapped),
        x=0.01,
        ha="left",
        fontsize=size,
        color="#404040",
        linespacing=1.1,
        wrap=False,
    )
