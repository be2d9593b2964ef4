"""Pages from templates: everything from a submission is escaped, and a page runs no script but its
own, asks nothing of the network, and needs no other file to be read."""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.reporting.display import rounded
from harness.reporting.formats.page.policy import digest
from harness.reporting.submissions.pages.board import Board
from harness.reporting.submissions.pages.marks import MEANINGS
from harness.text import plain

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Page:
    """One page: its place on the site, its template, and what stands in it."""

    path: str
    template: str
    title: str
    values: dict[str, Any]


def rendered(page: Page, board: Board) -> str:
    style, script = _text("site.css"), _text("site.js")
    policy = (
        f"default-src 'none'; style-src '{digest(style)}'; script-src '{digest(script)}';"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )
    depth = page.path.count("/")
    return (
        _environment()
        .get_template(page.template)
        .render(
            policy=policy,
            style=Markup(style),
            script=Markup(script),
            title=page.title,
            path=page.path,
            top="../" * depth,
            version=version("vpt-harness"),
            meanings=MEANINGS,
            people={one.name: one.about.who for one in board.submissions},
            **page.values,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        # whatever a submission says, without characters that turn a line around
        finalize=lambda value: plain(value) if type(value) is str else value,
    )
    environment.filters["score"] = lambda value: rounded(value, 1)
    environment.filters["number"] = lambda value: f"{value:,}"
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(name: str) -> Markup:
    """A name that may be broken behind an underscore."""
    return Markup("_<wbr>").join(plain(name).split("_"))


@cache
def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
