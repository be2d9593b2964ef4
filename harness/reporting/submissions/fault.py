"""What a check of a submission finds."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from harness.text import plain

Rule = Literal[
    "file", "size", "schema", "identity", "score", "leak", "logits", "copy", "record", "outlier"
]
"""By name, so that whoever sends a submission can look it up in docs/share.md."""

SHOWN = 5
"""Findings of one rule and one submission that are listed."""


@dataclass(frozen=True)
class Finding:
    """Something wrong with a submission, or worth a look."""

    rule: Rule
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {plain(self.text)[:400]}"


def some_of(rule: Rule, texts: Iterable[str]) -> Iterator[Finding]:
    """The first few of many alike, and how many more there are."""
    found = list(texts)
    yield from (Finding(rule, text) for text in found[:SHOWN])
    if len(found) > SHOWN:
        yield Finding(rule, f"and {len(found) - SHOWN:,} more like these")
