"""What may be claimed of two variants, for the page: the sentences of `harness compare`."""

from dataclasses import replace
from itertools import combinations

from harness.reporting.compare import command, sentences
from harness.reporting.paired_comparison import paired_comparison
from harness.reporting.section import Section
from harness.store import Store
from harness.text import plain

ALL_PAIRS = 12
"""Up to this many variants all pairs have their sentences; of more, those with the first and with
the baseline."""


def compared(part: Section, store: Store, baseline: str | None) -> dict[str, list[str]]:
    """Sentences by the two places, as `0,3`."""
    names = list(part.scores)
    fixed = {0, *([names.index(baseline)] if baseline in names else [])}
    return {
        f"{one},{other}": _said(part, store, names[one], names[other])
        for one, other in combinations(range(len(names)), 2)
        if len(names) <= ALL_PAIRS or fixed & {one, other}
    }


def _said(part: Section, store: Store, one: str, other: str) -> list[str]:
    pair = paired_comparison(part, one, other)
    if pair.claim in ("nothing", "refused"):  # the sentences name the command that would help
        pair = replace(pair, run=command(pair, store))
    return [plain(line) for line in sentences(pair)]
