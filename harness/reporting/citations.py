"""References of what a report shows: the papers of its methods and tasks, and this harness."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from harness.io.resources import papers_toml
from harness.io.toml import read_toml
from harness.reporting.section import Section
from harness.tasks.cards import load_cards
from harness.text import plain

HARNESS = "https://github.com/vpt-harness/vpt-harness"


@dataclass(frozen=True)
class Paper:
    """A method's."""

    key: str
    """In BibTeX."""
    title: str
    where: str
    year: int
    authors: str = ""
    arxiv: str = ""
    code: str = ""
    """The authors' repository on GitHub, `owner/name`."""

    @property
    def address(self) -> str:
        return f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else ""

    @property
    def repository(self) -> str:
        return f"https://github.com/{self.code}" if self.code else ""

    def bibtex(self) -> str:
        fields = {
            **({"author": self.authors} if self.authors else {}),
            "title": "{" + self.title.replace("&", "\\&") + "}",
            "howpublished": self.where,
            "year": str(self.year),
            **({"eprint": self.arxiv, "archivePrefix": "arXiv"} if self.arxiv else {}),
        }
        return _entry("misc", self.key, fields)


def papers() -> dict[str, Paper]:
    """By the methods' names; of built-in methods alone."""
    listed: dict[str, Any] = read_toml("papers", papers_toml())
    return {
        name: Paper(key, **{field: value for field, value in of.items() if field != "methods"})
        for key, of in listed.items()
        for name in of["methods"]
    }


def bibtex(parts: Sequence[Section]) -> str:
    """Entries of this harness and of the methods shown, each once; methods without one and the
    tasks' references, which their owners word themselves, in comments."""
    known, cards = papers(), load_cards()
    methods = sorted({summary.method for part in parts for summary in part.methods.values()})
    tasks = list(dict.fromkeys(task for part in parts for task in part.tasks))
    shown = {known[name].key: known[name] for name in methods if name in known}
    unknown = [name for name in methods if name not in known]
    own = {
        "author": "{The vpt-harness authors}",
        "title": "{vpt-harness: a benchmark harness for visual prompt tuning}",
        "howpublished": f"\\url{{{HARNESS}}}",
        "note": f"Version {version('vpt-harness')}",
        "year": "2026",
    }
    lines = [_entry("misc", "vpt_harness", own), *(paper.bibtex() for paper in shown.values())]
    lines += [f"% {_safe(name)}: no paper of its own is known here" for name in unknown]
    lines += [
        f"% task {_safe(task)}: {_safe(cards[task].citation)}" for task in tasks if task in cards
    ]
    return "\n".join(lines) + "\n"


def _safe(text: str) -> str:
    """On the line of a comment."""
    return re.sub(r"\s+", " ", plain(text))[:500]


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    inside = "\n".join(f"  {name} = {{{value}}}," for name, value in fields.items())
    return f"@{kind}{{{key},\n{inside}\n}}\n"
