"""The leaderboard as one HTML file that needs nothing else: no network, no other file. What it
shows is made by the other modules here, how it looks is in `templates`.

Everything from the store is in blocks of JSON, which the page's script reads and inserts as text,
never as HTML.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from harness.io import commands
from harness.io.atomic import replacing, unwritable
from harness.reporting.citations import HARNESS, papers
from harness.reporting.contents import Contents
from harness.reporting.costs import COSTS, USUAL
from harness.reporting.formats.format import TextFormat
from harness.reporting.formats.page.age import WHOLE
from harness.reporting.formats.page.compared import compared
from harness.reporting.formats.page.definitions import DEFINITIONS
from harness.reporting.formats.page.files import files
from harness.reporting.formats.page.pictures import strips
from harness.reporting.formats.page.policy import digest
from harness.reporting.formats.page.runs import Runs
from harness.reporting.formats.page.searches import Searches
from harness.reporting.formats.page.sections import section
from harness.reporting.published.numbers import PublishedNumber, published
from harness.reporting.published.page_columns import published_rows
from harness.reporting.rows import Run
from harness.reporting.section import Section
from harness.reporting.statistics.distributions import students_t
from harness.tasks.kinds import metric_of
from harness.text import plain

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = (
    *("dom.js", "state.js", "tips.js", "take.js", "tables.js", "ranking.js", "choice.js"),
    *("leaderboard.js", "details.js", "searches.js", "compare.js", "charts.js", "tests.js"),
    *("tradeoff.js", "more.js", "sources.js", "page.js"),
)
"""Concatenated to one module, in this order."""


class _Page(TextFormat):
    suffixes = (".htm",)

    def render(self, contents: Contents, live: str = "") -> str:
        return page(contents, live)


PAGE = _Page()


def page(
    contents: Contents, live: bool | str = "", numbers: Sequence[PublishedNumber] | None = None
) -> str:
    """The page of these contents, always with published numbers: these `numbers`, None for the
    shipped ones. Raises `BadInput` where there is nothing to show.

    `live`: the page requests `version` next to it every 5 s, and reloads when the answer isn't
    this text (True: isn't the first answer).
    """
    whole, contents = contents.is_whole, replace(contents, detail=True)
    store, parts, runs = contents.store, contents.sections, contents.rows.runs
    behind = Runs({run.id: run for run in runs})
    cells_of = [behind.of(part) for part in parts]
    extras = store.extras() if any(metric_of(part.first.metric).scales for part in parts) else {}
    baseline, columns = contents.checked_layout.baseline, contents.checked_layout.columns
    numbers = published() if numbers is None else numbers
    about = {
        "title": ", ".join(dict.fromkeys(plain(part.suite) for part in parts)),
        "facts": _facts(store.name, runs, parts),
        "live": live,
        "store": commands.command(store=store).removeprefix("harness"),
        "papers": _papers(parts),
        "home": HARNESS,
        "definitions": DEFINITIONS,
        "t": [round(students_t(degrees, 0.975), 9) for degrees in range(1, _most_seeds(parts))],
        "costs": [[cost.name, cost.title, cost.help] for cost in COSTS.values()],
        "columns": (*columns, "flops") if columns == USUAL else columns,
        **{name: _counted(behind, name) for name in ("machines", "versions")},
        "sections": [
            {
                **section(part, baseline),
                "compared": compared(part, store, baseline),
                "published": published_rows(part, numbers),
                "strips": strips(part, extras),
            }
            for part in parts
        ],
    }
    searches = Searches(store)
    behind_all = {
        "shared": behind.shared(),
        "cells": cells_of,
        "searches": [searches.of(part) for part in parts],
        "searched": searches.shared(),
        "files": files(contents),
    }
    return _html(about, behind_all, whole)


def write(path: Path, text: str) -> None:
    """Writes the file atomically: a browser that has it open never reads half of it. Makes its
    folder. Raises `BadInput`."""
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    with replacing(path) as file:
        file.write(text.encode())


def _facts(store: str, runs: Sequence[Run], parts: Sequence[Section]) -> list[list[str]]:
    """What was run, as [name, value] for the top of the page."""

    def names(values: Sequence[Any]) -> str:
        return ", ".join(dict.fromkeys(plain(str(value)) for value in values))

    variants = {variant for part in parts for variant in part.scores}
    known = {summary.method for part in parts for summary in part.methods.values()}
    results = [
        part.results.get((variant, task))
        for part in parts
        for variant in part.scores
        for task in part.tasks
    ]
    gaps = sum(row is None or row.n == 0 or bool(row.gaps) for row in results)
    days = sorted({run.created[:10] for run in runs})
    seeds = sorted({run.seed for run in runs})
    return [
        [
            "Methods",
            (
                f"{len(variants)} variants of {len(known)}"
                if len(variants) > len(known)
                else str(len(variants))
            ),
        ],
        ["Tasks", str(len({task for part in parts for task in part.tasks}))],
        ["Backbone", names([part.backbone for part in parts])],
        ["Protocol", names([part.protocol for part in parts])],
        [
            "Seeds",
            (
                f"{len(seeds)}"
                f" ({', '.join(map(str, seeds[:6]))}{', ...' if len(seeds) > 6 else ''})"
                if seeds
                else "none"
            ),
        ],
        ["Results", f"{sum(row.n for part in parts for row in part.board):,} final runs"],
        ["Gaps", f"{gaps} of {len(results):,} cells" if gaps else "none"],
        ["Measured", " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "nothing yet"],
        [
            "Page created",
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, vpt-harness {version('vpt-harness')}",
        ],
        ["Store", plain(store)],
    ]


def _papers(parts: Sequence[Section]) -> dict[str, dict[str, str]]:
    """Of the methods shown: title, address and code, as far as they are known."""
    shown = {summary.method for part in parts for summary in part.methods.values()}
    return {
        plain(name): {"title": paper.title, "paper": paper.address, "code": paper.repository}
        for name, paper in papers().items()
        if name in shown
    }


def _most_seeds(parts: Sequence[Section]) -> int:
    return max((part.seeds for part in parts), default=0)


def _counted(behind: Runs, name: str) -> list[list[Any]]:
    """How many final runs have each value: [count, value]."""
    return [list(pair) for pair in zip(behind.counts(name), behind.shared()[name], strict=True)]


def _html(about: dict[str, Any], runs: dict[str, Any], whole: bool) -> str:
    style, *scripts = (
        (TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", *SCRIPTS)
    )
    script = "".join(scripts)
    connect = "'self'" if about["live"] else "'none'"
    policy = (
        f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(style)}'; img-src"
        f" data:; connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        policy=policy,
        mark=Markup(WHOLE) if whole else "",
        title=about["title"],
        facts=about["facts"],
        summary=", ".join(_counting(*fact) for fact in about["facts"][:2]),
        style=Markup(style),
        script=Markup(script),
        about=_block(about),
        runs=_block(runs),
    )


def _counting(names: str, value: str) -> str:
    """`4 methods`, `1 task`."""
    return f"{value} {names.lower().removesuffix('s' if value == '1' else '')}"


def _block(value: Any) -> Markup:
    """JSON that is safe between <script> tags: it holds nothing that could end the block, or a
    line of script."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # a lone surrogate, from a file's name, can't be written
    return Markup(text.encode(errors="replace").decode())
