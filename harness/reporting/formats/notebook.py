"""What a notebook shows of a leaderboard: HTML that takes the notebook's own style."""

from collections.abc import Sequence
from html import escape

from harness.reporting.captions import caption, notes_of, tests_of, title_of
from harness.reporting.columns import NEAR, Column, Entry, Layout, summary_columns, task_columns
from harness.reporting.section import Section
from harness.text import plain


def table(parts: Sequence[Section], layout: Layout) -> str:
    """One table per section, with what a reader must know below it."""
    return "\n".join(_section(section, layout) for section in parts)


def _section(section: Section, layout: Layout) -> str:
    columns = [
        *([] if layout.groups else task_columns(section)),
        *summary_columns(section, layout),
    ]
    head = "".join(f"<th>{_text(title)}</th>" for title in ("Method", *_titles(columns)))
    rows = "\n".join(
        f"<tr><th>{_text(variant)}</th>"
        + "".join(f"<td>{_entry(column.entries[variant])}</td>" for column in columns)
        + "</tr>"
        for variant in section.scores
    )
    near = "" if layout.groups else NEAR
    notes = [
        caption(section, "underlined", near=near, groups=layout.groups, layout=layout),
        *tests_of(section, layout),
        *notes_of(section),
    ]
    small = "<br>".join(_text(note) for note in notes)
    return (
        f"<div><p><strong>{_text(title_of(section))}</strong></p>\n"
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>\n"
        f"<p><small>{small}</small></p></div>"
    )


def _titles(columns: Sequence[Column]) -> list[str]:
    return [column.title for column in columns]


def _entry(entry: Entry) -> str:
    around = {1: "strong", 2: "u"}.get(entry.place)
    number = _text(entry.text)
    number = f"<{around}>{number}</{around}>" if around else number
    detail = f" <small>{_text(entry.detail)}</small>" if entry.detail else ""
    return f"{number}{NEAR if entry.near else ''}{detail}"


def _text(text: str) -> str:
    return escape(plain(text))
