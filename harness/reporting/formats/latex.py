r"""The leaderboard as LaTeX: one booktabs table per section, to \input or paste into a paper.

With many tasks headers are rotated, the spread goes below its number, and each group gets its
mean.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from harness.reporting.captions import caption, notes_of, tests_of
from harness.reporting.columns import (
    MANY_TASKS,
    NEAR,
    PLAIN,
    Column,
    Entry,
    Layout,
    summary_columns,
    task_columns,
)
from harness.reporting.contents import Contents
from harness.reporting.display import NOTHING
from harness.reporting.formats.format import TextFormat
from harness.reporting.formats.latex_text import escaped
from harness.reporting.section import Section

MOST_LINES = 50
"""Lines of scores that fit on a page unshrunk; a longer table is split into parts."""
NAME, NARROW_NAME = 30, 22
"""Characters of a name per line; the second is for methods, next to many tasks."""

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


def _tables(section: Section, number: int, layout: Layout) -> list[str]:
    many = len(section.tasks) > MANY_TASKS and not layout.groups
    groups = _grouped(section, layout, many)
    columns = [column for _, of_group in groups for column in of_group]
    pages: list[list[str]] = [[]]
    # points: about what a table measures, and a page's width
    lines, most = 0, MOST_LINES * max(1.0, (110 + 18 * len(columns)) / 470)
    for variant in section.scores:
        name = _name(variant, NARROW_NAME if many else NAME)
        row = _row(name, [column.entries[variant] for column in columns], many)
        lines += max(len(name), 1 + many)
        if lines > most and pages[-1]:
            pages.append([])
            lines = max(len(name), 1 + many)
        pages[-1].append(row)
    return [
        _table(section, layout, groups, rows, many, (number, page, len(pages)))
        for page, rows in enumerate(pages, 1)
    ]


def _grouped(section: Section, layout: Layout, many: bool) -> list[tuple[str, list[Column]]]:
    """The columns, with the name of their group; empty for those without one."""
    if layout.groups:
        return [("", summary_columns(section, layout))]
    of_tasks: dict[str, list[Column]] = {}
    for column in task_columns(section):
        of_tasks.setdefault(column.task, []).append(column)
    summary = {
        column.title: column for column in summary_columns(section, replace(layout, groups=many))
    }
    first = [summary.pop("Params")] if "Params" in summary else []
    grouped: list[tuple[str, list[Column]]] = [("", first)] if first else []
    for group, tasks in section.groups.items():
        mean = summary.pop(f"{group} ({len(tasks)})", None)
        means = [Column("Mean", mean.entries)] if mean else []
        grouped.append((group, [*(column for task in tasks for column in of_tasks[task]), *means]))
    return [*grouped, ("", list(summary.values()))]


def _table(
    section: Section,
    layout: Layout,
    groups: list[tuple[str, list[Column]]],
    rows: list[str],
    many: bool,
    where: tuple[int, int, int],
) -> str:
    number, page, pages = where
    columns = [column for _, of_group in groups for column in of_group]
    wide = "table*" if len(section.tasks) > 3 else "table"
    alignment = "".join(
        (r"@{\hspace{6pt}}" if place else "") + "r" * len(of_group)
        for place, (_, of_group) in enumerate(groups)
    )
    heads = ["Method", *(_head(column.title, many) for column in columns)]
    caption_text = _caption(section, layout, columns, many) + (
        f" Part {page} of {pages}." if pages > 1 else ""
    )
    body = [
        rf"\begin{{{wide}}}[t]",
        r"\sloppy\centering",
        rf"\caption{{{escaped(caption_text, breaks=True)}}}\vspace{{3pt}}",
        rf"\label{{tab:{_slug(section)}-{number}{f'-{page}' if page > 1 else ''}}}",
        rf"\footnotesize\setlength{{\tabcolsep}}{{{1.3 if many else 4}pt}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}l{alignment}@{{}}}}",
        r"\toprule",
        *(_spans(groups) if any(group for group, _ in groups) and len(section.groups) > 1 else []),
        " & ".join(heads) + r" \\",
        r"\midrule",
        ("\n\\addlinespace[1.5pt]\n" if many else "\n").join(rows),
        r"\bottomrule",
        r"\end{tabular}}",
        *(_notes(section, layout, columns) if page == pages else []),
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


def _row(name: list[str], entries: Sequence[Entry], stacked: bool) -> str:
    """A method's line; with `stacked` the spreads have a line of their own, small, next to
    the second line of a long name."""
    lines = [[_marked(entry, "" if stacked else entry.detail) for entry in entries]]
    if stacked and any(entry.detail for entry in entries):
        lines.append([_small(entry) for entry in entries])
    while len(lines) < len(name):
        lines.append([""] * len(entries))
    names = [*(escaped(line) for line in name), *[""] * (len(lines) - len(name))]
    return "\n".join(
        rf"{name} & {' & '.join(line)} \\" for name, line in zip(names, lines, strict=True)
    )


def _marked(entry: Entry, detail: str) -> str:
    text = {"failed": r"$\times$", NOTHING: "--"}.get(entry.text) or re.sub(
        r"^-(?=\d)", "$-$", escaped(entry.text)
    )
    text = {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(entry.place, text)
    spread = f"$_{{{detail.replace('±', chr(92) + 'pm ')}}}$" if detail else ""
    return text + spread + (r"\rlap{$^{\approx}$}" if entry.near and detail else "")


def _small(entry: Entry) -> str:
    """What goes below a score: its spread, after the mark for being near the best, for which there
    is no room next to the score."""
    near = r"$\approx$" if entry.near else ""
    return (
        rf"{{\scriptsize {near}{escaped(entry.detail.removeprefix('±'))}}}"
        if near or entry.detail
        else ""
    )


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


def _head(title: str, upright: bool) -> str:
    words = [title] if upright else re.split(r"(?<=[-_])(?=\w{3})| (?=of )", title)
    lines = [word[start : start + NAME] for word in words for start in range(0, len(word), NAME)]
    below = r"\\".join(map(escaped, lines))
    head = rf"\shortstack[{'l' if upright else 'r'}]{{{below}}}" if len(lines) > 1 else below
    return rf"\rotatebox{{90}}{{{head}}}" if upright else head


def _caption(section: Section, layout: Layout, columns: Sequence[Column], many: bool) -> str:
    """Where the numbers are from, what they are, and how their means are taken."""
    count, groups = len(section.tasks), len(section.groups)
    sentences = [
        (
            f"Suite {section.suite} ({count} tasks); backbone {section.backbone}, protocol"
            f" {section.protocol}, pixels {_pixels(section)}."
        ),
        caption(
            section,
            "underlined",
            spread=not many,
            near=NEAR if any(column.task for column in columns) else "",
            layout=layout,
        ),
    ]
    if many and section.seeds > 1:
        sentences.append("Small, below a score: its standard deviation.")
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
