"""Friedman's and Wilcoxon's tests for the page: their numbers, and what they say."""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.reporting.display import equals, interval_text, probability, rounded, signed
from harness.reporting.formats.page.values import number, shortened
from harness.reporting.section import Section
from harness.reporting.statistics.common import LEVEL, TooFew, complete
from harness.reporting.statistics.friedman import Friedman, cliques, friedman
from harness.reporting.statistics.wilcoxon import Pair, pairwise
from harness.text import first_few, plain

ALL_PAIRS = 15
"""Up to this many variants are all compared with each other; more are compared with one."""
DRAWN = 30
"""Methods in the critical-difference diagram: more would be illegible."""


def tests(part: Section, baseline: str | None) -> dict[str, Any]:
    order = {variant: index for index, variant in enumerate(part.scores)}
    kept, dropped = complete(part.scores, part.tasks)
    against = baseline if baseline is not None or len(kept) <= ALL_PAIRS else next(iter(kept))
    overall, pairs = friedman(part.scores, part.tasks), pairwise(part.scores, part.tasks, against)
    ranked = None if isinstance(overall, TooFew) else overall
    tested = [] if isinstance(pairs, TooFew) else pairs
    return {
        "level": LEVEL,
        "dropped": [
            [order[variant], [plain(task) for task in lacks]] for variant, lacks in dropped.items()
        ],
        "friedman": plain(str(overall))
        if isinstance(overall, TooFew)
        else _friedman(part, overall, order),
        "against": None if against is None else plain(against),
        "chosen": baseline is None and against is not None,
        "apart": None if (text := ranked and apart(ranked, tested)) is None else plain(text),
        "pairs": (
            plain(str(pairs))
            if isinstance(pairs, TooFew)
            else [_pair(pair, order) for pair in pairs]
        ),
    }


def rank_interval(part: Section, variant: str) -> str | None:
    """`1.2 to 2.6`; None without one."""
    ends = part.rank_intervals.get(variant)
    return None if ends is None else f"{rounded(ends[0], 1)} to {rounded(ends[1], 1)}"


def apart(overall: Friedman, pairs: Sequence[Pair]) -> str | None:
    """Where the diagram and the table of pairs say different things: on which pairs, why, and
    which to cite. None where they agree."""
    differ = overall.f_p < LEVEL
    diagram, table = [], []
    for pair in pairs:
        ranks = [overall.ranks[name] for name in (pair.one, pair.other)]
        by_ranks = differ and abs(ranks[0] - ranks[1]) >= overall.critical_difference
        if by_ranks != (pair.p_holm < LEVEL):
            (diagram if by_ranks else table).append(f"{pair.one} and {pair.other}")
    if not diagram and not table:
        return None
    said = [
        f"{name} tells {first_few(of)} apart and the {other} doesn't"
        for name, other, of in (("diagram", "table", diagram), ("table", "diagram", table))
        if of
    ]
    return f"The {'; the '.join(said)}. {_why(overall, pairs)}"


def _why(overall: Friedman, pairs: Sequence[Pair]) -> str:
    """Wilcoxon's exact p over n tasks is 2^(1-n) at least, and Holm's correction multiplies the
    smallest by the number of pairs."""
    tasks, family = len(overall.tasks), pairs[0].family
    least = 2.0 ** (1 - tasks)
    both = (
        "Both can be: Nemenyi's difference looks at the ranks of all methods at once, Wilcoxon's"
        " test at the two methods' differences alone."
    )
    if least * family >= LEVEL:
        of = f"{family} corrected comparisons" if family > 1 else "one comparison"
        return (
            f"{both} With {tasks} tasks Wilcoxon's p can't be below {least:.2g}, so with {of} the"
            f" table can't show any difference at {LEVEL}: cite the diagram, with its {tasks}"
            " tasks, or run more tasks."
        )
    return (
        f"{both} For a claim about two methods cite the table: which other methods stand here"
        " doesn't move its tests, but for the correction."
    )


def _friedman(part: Section, test: Friedman, order: Mapping[str, int]) -> dict[str, Any]:
    """`variants` in order of rank; `bars`: for each bar, the first and last position in that order,
    among those drawn."""
    differ, distance = test.f_p < LEVEL, rounded(test.critical_difference, 2)
    lead = "The methods differ" if differ else "No difference between the methods is shown"
    f = "\u221e" if test.f == float("inf") else f"{test.f:#.4g}"
    return {
        "variants": [order[variant] for variant in test.variants],
        "ranks": [
            [number(rank), rounded(rank, 2), rank_interval(part, variant)]
            for variant, rank in test.ranks.items()
        ],
        "drawn": min(len(test.variants), DRAWN),
        "critical_difference": [number(test.critical_difference), distance],
        "bars": _bars(test, differ),
        "lead": (
            f"{lead}: Friedman's test over {len(test.tasks)} tasks and {len(test.variants)}"
            f" methods, \u03c7\u00b2 = {test.chi2:#.4g} (p {equals(test.p)}), Iman and"
            f" Davenport's F = {f} (p {equals(test.f_p)})."
        ),
        "claim": (
            f"Two methods may be called different where their mean ranks are at least {distance}"
            f" apart (Nemenyi's critical difference at {LEVEL}); a bar joins those that are not."
            if differ
            else "So no two methods may be called different by their ranks."
        ),
    }


def _bars(test: Friedman, differ: bool) -> list[list[int]]:
    """If Friedman's test shows no difference, one bar joins all; else one per clique."""
    bars: list[list[int]] = []
    for clique in cliques(test) if differ else [test.variants]:
        first, last = (test.variants.index(clique[end]) for end in (0, -1))
        last = min(last, DRAWN - 1)
        if last > first and (not bars or bars[-1][1] != last):
            bars.append([first, last])
    return bars


def _pair(pair: Pair, order: Mapping[str, int]) -> dict[str, Any]:
    """Numbers to sort by; [number, text] where what is shown differs."""
    if pair.p_holm >= LEVEL:
        verdict = "not shown to differ"
    else:
        verdict = "better" if pair.effect > 0 else "worse"
    return {
        "one": order[pair.one],
        "other": order[pair.other],
        "wins": pair.wins,
        "ties": pair.ties,
        "losses": pair.losses,
        "verdict": verdict,
        "mean": [number(pair.mean), signed(pair.mean, 2)],
        "interval": [number(pair.low), interval_text(pair.low, pair.high, 2, with_sign=True)],
        "p": [shortened(pair.p), probability(pair.p)],
        "holm": [shortened(pair.p_holm), probability(pair.p_holm)],
        "effect": [number(pair.effect), signed(pair.effect, 2)],
    }
