r"""The leaderboard as LaTeX: one booktabs table per section, to \input or paste into a paper.

With many tasks there is a table of means, and one for each group's tasks: type stays readable.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.reporting.captions import caption, notes_of, tests_of
from harness.reporting.columns import (
    MANY_TASKS,
    NEAR,
    PLAIN,
    Column,
    Entry,
    Layout,
    group_column,
    summary_columns,
    task_columns,
)
from harness.reporting.contents import Contents
from harness.reporting.display import NOTHING
from harness.reporting.formats.format import TextFormat
from harness.reporting.formats.latex_text import escaped
from harness.reporting.section import Section
from harness.text import some

MOST_LINES = 50
"""Lines of scores that fit on a page unshrunk; a longer table is split into parts."""
NEAR_MARK = r"$^{\approx}$"
NAME = 30
"""Characters of a name per line."""

_PREAMBLE = "% \\usepackage{booktabs,graphicx}\n"
_DOCUMENT = r"""\documentclass{article}
\usepackage[margin=1in]{geometry}
\usepackage{booktabs,graphicx}
\begin{document}
%s
\end{document}
"""


class _Latex(TextFormat):
    suffixes = (".tex",)

    def render(self, contents: Contents, live: str = "") -> str:
        return latex(contents.sections, contents.checked_layout)


LATEX = _Latex()


def latex(parts: Sequence[Section], layout: Layout = PLAIN, standalone: bool = False) -> str:
    r"""One `table` or `table*` per section, after a comment with the packages they need;
    `standalone`: a whole document around them.

    A table is never wider than the text: \resizebox shrinks it if needed. One with more lines
    than a page holds is split into parts.
    """
    tables = [
        table
        for number, section in enumerate(parts, 1)
        for table in _tables(section, number, layout)
    ]
    if standalone:
        return _DOCUMENT % "\n\\clearpage\n".join(tables)
    return _PREAMBLE + "\n".join(tables)


Groups = list[tuple[str, list[Column]]]
"""Columns, with the name of their group; empty for those without one."""


def _tables(section: Section, number: int, layout: Layout) -> list[str]:
    tables = []
    for part, groups in enumerate(_parts(section, layout)):
        pages = _pages(section, [column for _, of_group in groups for column in of_group])
        for page, rows in enumerate(pages, 1):
            where = (number, part, page, len(pages))
            tables.append(_table(section, layout, groups, rows, where))
    return tables


def _pages(section: Section, columns: Sequence[Column]) -> list[list[str]]:
    """The rows, on as many pages as they take."""
    pages: list[list[str]] = [[]]
    room = [any(entry.near and entry.detail for entry in of.entries.values()) for of in columns]
    # points: about what a table measures, and a page's width
    lines, most = 0, MOST_LINES * max(1.0, (110 + 18 * len(columns)) / 470)
    for variant in section.scores:
        name = _name(variant, NAME)
        row = _row(name, [column.entries[variant] for column in columns], room)
        lines += len(name)
        if lines > most and pages[-1]:
            pages.append([])
            lines = len(name)
        pages[-1].append(row)
    return pages


def _parts(section: Section, layout: Layout) -> list[Groups]:
    """The columns of each table: one, or with many tasks that of means and then those of tasks."""
    if layout.groups:
        return [[("", summary_columns(section, layout))]]
    of_tasks: dict[str, list[Column]] = {}
    for column in task_columns(section):
        of_tasks.setdefault(column.task, []).append(column)
    if len(section.tasks) > MANY_TASKS:
        means = [("", summary_columns(section, replace(layout, groups=True)))]
        return [
            means,
            *(part for group in section.groups for part in _of(section, group, of_tasks)),
        ]
    summary = {column.title: column for column in summary_columns(section, layout)}
    first = [summary.pop("Params")] if "Params" in summary else []
    grouped: Groups = [("", first)] if first else []
    for group, tasks in section.groups.items():
        grouped.append((group, [column for task in tasks for column in of_tasks[task]]))
    return [[*grouped, ("", list(summary.values()))]]


def _of(section: Section, group: str, of_tasks: Mapping[str, list[Column]]) -> list[Groups]:
    """A group's tables, of at most `MANY_TASKS` tasks each; the last has the group's mean."""
    tasks = section.groups[group]
    mean = Column("Mean", group_column(section, group).entries)
    parts: list[Groups] = []
    for start in range(0, len(tasks), MANY_TASKS):
        columns = [one for task in tasks[start : start + MANY_TASKS] for one in of_tasks[task]]
        last = start + MANY_TASKS >= len(tasks)
        parts.append([(group, [*columns, mean] if last else columns)])
    return parts


def _table(
    section: Section,
    layout: Layout,
    groups: Groups,
    rows: list[str],
    where: tuple[int, int, int, int],
) -> str:
    """`where`: the section's number, the table's in it from 0, its page and of how many."""
    number, part, page, pages = where
    columns = [column for _, of_group in groups for column in of_group]
    wide = "table*" if len(section.tasks) > 3 else "table"
    alignment = "".join(
        (r"@{\hspace{6pt}}" if place else "") + "r" * len(of_group)
        for place, (_, of_group) in enumerate(groups)
    )
    heads = ["Method", *(_head(column.title) for column in columns)]
    said = _caption(section, layout, columns) if part == 0 else _short(section, groups)
    caption_text = said + (f" Part {page} of {pages}." if pages > 1 else "")
    label = f"tab:{_slug(section)}-{number}"
    of_part = f"{f'-{part}' if part else ''}{f'-{page}' if page > 1 else ''}"
    rest = rf" The rest as in Table~\ref{{{label}}}." if part else ""
    body = [
        rf"\begin{{{wide}}}[t]",
        r"\sloppy\centering",
        rf"\caption{{{escaped(caption_text, breaks=True)}{rest}}}\vspace{{3pt}}",
        rf"\label{{{label}{of_part}}}",
        r"\footnotesize\setlength{\tabcolsep}{4pt}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}l{alignment}@{{}}}}",
        r"\toprule",
        *(_spans(groups) if any(group for group, _ in groups) and len(section.groups) > 1 else []),
        " & ".join(heads) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}}",
        *(_notes(section, layout, columns) if page == pages and part == 0 else []),
        rf"\end{{{wide}}}",
    ]
    return "\n".join(body) + "\n"


def _spans(groups: list[tuple[str, list[Column]]]) -> list[str]:
    """The line above the headers: a group's name over its columns, with a rule below."""
    spans, rules, place = [""], [], 2
    for group, of_group in groups:
        spans.append(
            rf"\multicolumn{{{len(of_group)}}}{{c}}{{{escaped(group)}}}"
            if group
            else " & ".join("" for _ in of_group)
        )
        if group:
            rules.append(rf"\cmidrule(lr){{{place}-{place + len(of_group) - 1}}}")
        place += len(of_group)
    return [" & ".join(spans) + r" \\", " ".join(rules)]


def _row(name: list[str], entries: Sequence[Entry], room: Sequence[bool]) -> str:
    """A method's line, and one for each further line of its name. `room`: columns with marks."""
    first = [_marked(entry, of) for entry, of in zip(entries, room, strict=True)]
    lines = [first, *([""] * len(entries) for _ in name[1:])]
    return "\n".join(
        rf"{escaped(part)} & {' & '.join(line)} \\" for part, line in zip(name, lines, strict=True)
    )


def _marked(entry: Entry, room: bool) -> str:
    """`room`: other entries of the column are marked as near the best; this one gets the same
    width, so that digits stay below digits."""
    text = {"failed": r"$\times$", NOTHING: "--"}.get(entry.text) or re.sub(
        r"^-(?=\d)", "$-$", escaped(entry.text)
    )
    text = {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(entry.place, text)
    spread = f"$_{{{entry.detail.replace('±', chr(92) + 'pm ')}}}$" if entry.detail else ""
    mark = NEAR_MARK if entry.near and entry.detail else rf"\phantom{{{NEAR_MARK}}}"
    return text + spread + (mark if room else "")


def _name(variant: str, width: int) -> list[str]:
    """A method's name in lines: its arguments go below it where it is long."""
    name, bracket, inside = variant.partition("(")
    pieces = (
        [variant]
        if len(variant) <= width
        else [name, *re.findall(r"[^,]*,|[^,]+$", bracket + inside)]
    )
    lines: list[str] = []
    for part in (
        piece[start : start + width] for piece in pieces for start in range(0, len(piece), width)
    ):
        if len(lines) > 1 and len(lines[-1]) + len(part) <= width:
            lines[-1] += part
        else:
            lines.append(part)
    return lines or [""]


def _head(title: str) -> str:
    words = re.split(r"(?<=[-_])(?=\w{3})| (?=of )", title)
    lines = [word[start : start + NAME] for word in words for start in range(0, len(word), NAME)]
    below = r"\\".join(map(escaped, lines))
    return rf"\shortstack[r]{{{below}}}" if len(lines) > 1 else below


def _short(section: Section, groups: Groups) -> str:
    """Of a group's table."""
    tasks = some(sum(bool(column.task) for _, of in groups for column in of), "task")
    names = ", ".join(group for group, _ in groups)
    return f"Suite {section.suite}, {names}: {tasks}; backbone {section.backbone}."


def _caption(section: Section, layout: Layout, columns: Sequence[Column]) -> str:
    """Where the numbers are from, what they are, and how their means are taken."""
    count, groups = len(section.tasks), len(section.groups)
    sentences = [
        (
            f"Suite {section.suite} ({some(count, 'task')}); backbone {section.backbone}, protocol"
            f" {section.protocol}, pixels {_pixels(section)}."
        ),
        caption(
            section,
            "underlined",
            near=NEAR if count > MANY_TASKS or any(column.task for column in columns) else "",
            layout=layout,
        ),
    ]
    sentences.append(f"Mean of {count}: over tasks, each counting once.")
    if any(column.title == f"Mean of {groups} groups" for column in columns):
        sentences.append(
            f"Mean of {groups} groups: of the groups' means, each group counting once."
        )
    if any(column.title == "Rank" for column in columns):
        sentences.append("Rank: mean over tasks, 1 is the best.")
    return " ".join(sentences)


def _pixels(section: Section) -> str:
    tasks: dict[str, set[str]] = {}
    for row in section.board:
        tasks.setdefault(str(row.cell.pixels), set()).add(row.task)
    return ", ".join(
        pixels if len(tasks) == 1 else f"{pixels} ({len(of)})" for pixels, of in tasks.items()
    )


def _notes(section: Section, layout: Layout, columns: Sequence[Column]) -> list[str]:
    shown = {entry.text for column in columns for entry in column.entries.values()}
    marks = [
        (r"$\times$: failed.", "failed"),
        ("--: not run, or not computed because a task is missing.", NOTHING),
    ]
    notes = [meaning for meaning, text in marks if text in shown]
    if any("/" in entry.detail for column in columns for entry in column.entries.values()):
        notes.append("m/n: mean of the m tasks that have a score.")
    notes = ([" ".join(notes)] if notes else []) + [
        escaped(note, breaks=True) for note in [*tests_of(section, layout), *notes_of(section)]
    ]
    if not notes:
        return []
    return [
        r"\par\vspace{3pt}",
        r"\begin{minipage}{\linewidth}\scriptsize\raggedright",
        "\\par\n".join(notes),
        r"\end{minipage}",
    ]


def _slug(section: Section) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{section.suite} {section.backbone}".lower()).strip("-")[:60]
