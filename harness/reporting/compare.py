"""`harness compare A B`: what may and may not be claimed about two methods, in words."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from typing import Any

from harness.errors import BadInput
from harness.io import commands
from harness.reporting.captions import title_of
from harness.reporting.filters import ANY, Setting, of_setting, one_variant, stored
from harness.reporting.leaderboard import leaderboard
from harness.reporting.paired_comparison import PairedComparison, paired_comparison
from harness.reporting.section import SHARED, sections
from harness.reporting.statistics.common import DIGITS, LEVEL, TooFew
from harness.reporting.statistics.wilcoxon import Pair
from harness.store import Store
from harness.text import plain, some

SEEDS = 5
"""How many a claim takes."""


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two variants wherever both were run: one part per backbone and protocol."""

    one: str
    other: str
    parts: list[PairedComparison]

    def lines(self) -> list[str]:
        """For a terminal: a title per part, and its sentences."""
        blocks = [
            [title_of(block.section), *(f"- {line}" for line in sentences(block))]
            for block in self.parts
        ]
        return [
            plain(line)
            for index, block in enumerate(blocks)
            for line in ([""] if index else []) + block
        ]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return "\n".join(
            _titled_list(title_of(part.section), sentences(part)) for part in self.parts
        )

    def json(self) -> str:
        """What isn't known or isn't claimed is null."""
        document = {
            "one": self.one,
            "other": self.other,
            "comparisons": [_document(part) for part in self.parts],
        }
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def _titled_list(title: str, lines: Sequence[str]) -> str:
    """For a notebook."""
    items = "\n".join(f"<li>{escape(plain(line))}</li>" for line in lines)
    return f"<div><p><strong>{escape(plain(title))}</strong></p>\n<ul>{items}</ul></div>"


def compare(
    store: Store,
    one: str,
    other: str,
    *,
    tasks: Sequence[str] | None = None,
    suite_name: str | None = None,
    cells: Collection[str] | None = None,
    setting: Setting = ANY,
) -> Comparison:
    """`one` against `other`, each a variant, or a method that has one variant in the store. The
    other arguments are those of `Report`.

    Raises `BadInput`: nothing stored, an unknown name, the same variant twice, or never run with
    the same backbone and protocol.
    """
    rows = stored(store, tasks, suite_name, cells)
    if setting:
        rows = of_setting(rows, setting)
    first, second = (one_variant(rows, name) for name in (one, other))
    if first == second:
        raise BadInput(f"'{one}' and '{other}' are the same variant, {first}: name two.")
    parts = sections(leaderboard(rows.of_variants((first, second))), tasks, suite_name)
    comparisons = [
        paired_comparison(section, first, second) for section in parts if len(section.scores) == 2
    ]
    if not comparisons:
        places = "; ".join(f"{', '.join(section.scores)}: {title_of(section)}" for section in parts)
        raise BadInput(
            plain(
                f"{first} and {second} were never run with the same backbone and protocol."
                f" {places}."
            )
        )
    return Comparison(
        first, second, [replace(part, run=command(part, store)) for part in comparisons]
    )


def sentences(part: PairedComparison) -> list[str]:
    """What may and may not be claimed, then what else a reader must know."""
    if part.claim == "nothing":
        return [
            f"Nothing to compare: no task has a seed that both were run with. Run: {part.run}",
            *part.notes,
        ]
    if part.claim == "refused":
        places = "every task" if len(part.single) == len(part.tasks) else ", ".join(part.single)
        return [
            (
                f"No claim: the two have only one seed in common on {places}, so a difference may"
                " be due to the seed."
            ),
            f"What was measured: {_measured(part)}.",
            f"To claim anything, run {SEEDS} seeds: {part.run}",
            *part.notes,
        ]
    test = part.test
    if isinstance(test, TooFew):
        return [
            f"{_measured(part)}: no p-value. {test.reason}",
            _allowed_here(part),
            _task_by_task(part),
            _on_these_tasks(part),
            *part.notes,
        ]
    lines, differing = (
        [f"{_measured(part)}, {_tested(test)}.", _allowed(test)],
        test.wins + test.losses,
    )
    if differing and 2.0 ** (1 - differing) >= LEVEL:
        lines.append(
            f"With {differing} tasks that differ, p can't be below {2.0 ** (1 - differing):.2g},"
            " whatever the scores are."
        )
        lines.append(_task_by_task(part))
    return [*lines, _on_these_tasks(part), *part.notes]


def _measured(part: PairedComparison) -> str:
    wins, ties, losses = part.counts
    how, on, rest = (
        ("worse", losses, f"wins {wins}") if losses > wins else ("better", wins, f"losses {losses}")
    )
    return (
        f"{part.one} is {how} than {part.other} on {on} of {some(len(part.tasks), 'task')} (ties"
        f" {ties}, {rest}); mean difference {_points(part.mean or 0)} points"
    )


def _tested(pair: Pair) -> str:
    """Over tasks taken as a sample."""
    p = f"p = {pair.p:.2g}" if pair.p >= 0.001 else "p < 0.001"
    return (
        f"95 % interval {_between(pair.low, pair.high)} over tasks taken as a sample:"
        f" {'not ' if pair.p >= LEVEL else ''}significant at {LEVEL} (Wilcoxon signed-rank, {p},"
        f" effect {pair.effect:.2f})"
    )


def _allowed(pair: Pair) -> str:
    apart = _excludes_zero(pair.low, pair.high)
    if pair.p >= LEVEL:
        but = " The interval excludes 0, but the test decides." if apart else ""
        return f"May not be claimed: that either is better, or that they are equal.{but}"
    better, worse = (pair.one, pair.other) if pair.effect > 0 else (pair.other, pair.one)
    but = "" if apart else " The interval contains 0, so no gain in points may be claimed."
    return (
        f"May be claimed: {better} is better than {worse} over tasks like these. Not: on each of"
        f" them, or with another backbone.{but}"
    )


def _allowed_here(part: PairedComparison) -> str:
    """Where there are too few tasks for a test over them."""
    if part.fixed is None or not _excludes_zero(*part.fixed):
        return "May not be claimed: that either is better, or that they are equal."
    first = part.fixed[0] > 0
    better, worse = (part.one, part.other) if first else (part.other, part.one)
    if len(part.tasks) == 1:
        return f"May be claimed: {better} is better than {worse} on this task. Not: on others."
    return (
        f"May be claimed: {better} is better than {worse} by the mean over these tasks. Not: on"
        " each of them, or on others."
    )


def _on_these_tasks(part: PairedComparison) -> str:
    """Tasks taken as fixed."""
    alone = (
        f"On {'this task' if len(part.tasks) == 1 else f'these {len(part.tasks)} tasks'} alone,"
        " taken as fixed"
    )
    if part.fixed is None:
        return f"{alone}, there is no interval: the tasks don't share two seeds."
    low, high = part.fixed
    return (
        f"{alone}, the mean difference's 95 % interval over seeds is {_between(low, high)}:"
        f" {_zero(low, high)} 0."
    )


def _task_by_task(part: PairedComparison) -> str:
    differences = [
        f"{on.task} {_points(on.difference)} {_between(on.low, on.high)}" for on in part.tasks
    ]
    return (
        "Task by task, with 95 % intervals over paired seeds, not corrected for the number of"
        f" tasks: {', '.join(differences)}."
    )


def _zero(low: float, high: float) -> str:
    return "it excludes" if _excludes_zero(low, high) else "it contains"


def _excludes_zero(low: float, high: float) -> bool:
    return low > 0 or high < 0


def _points(value: float) -> str:
    return f"{value:+z.{_digits(value)}f}"


def _between(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "(one seed)"
    digits = max(_digits(low), _digits(high))
    return f"[{low:z.{digits}f}, {high:z.{digits}f}]"


def _digits(value: float) -> int:
    """One, or as many as are needed so that a number other than 0 isn't shown as 0."""
    return next(
        (digits for digits in (1, 2, 3) if round(value, digits)),
        1 if round(value, DIGITS) == 0 else 3,
    )


def command(part: PairedComparison, store: Store) -> str:
    """The command that runs the seeds needed for a claim. Stored seeds aren't run again."""
    from harness.backbones import own_side
    from harness.data.normalization import BACKBONES_OWN, NAMED
    from harness.planning import protocols
    from harness.tasks.cards import IMAGE_SIZE, load_suites

    first, suite = part.section.first, load_suites().get(part.section.suite)
    inputs_of = {variant: _inputs(part, variant, store) for variant in (part.one, part.other)}
    inputs = inputs_of[part.one] or inputs_of[part.other]
    words = [
        "run",
        "--methods",
        ",".join(_as_flag(variant, inputs_of[variant]) for variant in inputs_of),
    ]
    words += (
        ["--suite", part.section.suite]
        if suite
        else ["--tasks", ",".join(part.section.wanted or part.section.tasks)]
    )
    if suite is None or suite.backbone != first.backbone or "=" in str(inputs.get("backbone")):
        words += ["--backbone", commands.backbone(inputs.get("backbone") or first.backbone)]
    shipped = first.protocol in protocols.names() and not str(inputs.get("protocol")).endswith(
        ".toml"
    )
    if suite is None or suite.protocol != first.protocol or not shipped:
        words += [
            "--protocol",
            (
                first.protocol
                if shipped
                else commands.near(inputs.get("protocol") or f"{first.protocol}.toml")
            ),
        ]
    usual = own_side(first.backbone) or (suite.image_size if suite else IMAGE_SIZE)
    if (
        first.metric == "top1"
        and first.side not in ("", str(usual))
        and not inputs.get("image_size")
    ):
        words += ["--image-size", first.side]
    if not inputs.get("normalize") and (
        not shipped or first.normalize != protocols.load(first.protocol).normalize
    ):
        words += [
            "--normalize",
            first.normalize if first.normalize in NAMED else BACKBONES_OWN,
        ]
    settings = json.loads(first.settings)
    if settings.get("precision") and not inputs.get("precision"):
        words += ["--precision", str(settings["precision"])]
    trials = settings.get("trials")
    if shipped and trials and trials != protocols.load(first.protocol).trials:
        words += ["--trials", str(trials)]
    stored = {seed for row in part.section.board for seed in row.scores}
    seeds = [*sorted(stored), *(seed for seed in range(SEEDS) if seed not in stored)]
    words += [
        *commands.given(inputs),
        "--seeds",
        ",".join(map(str, seeds[: max(SEEDS, len(stored))])),
    ]
    return commands.command(*words, store=store)


def _inputs(part: PairedComparison, variant: str, store: Store) -> Mapping[str, Any]:
    """What a variant's newest row in this section was made from."""
    ids = [
        id for (name, _), row in part.section.results.items() if name == variant for id in row.ids
    ]
    return store.result(ids[-1])[0].provenance.get("inputs", {}) if ids else {}


def _as_flag(variant: str, inputs: Mapping[str, Any]) -> str:
    """A variant as `--methods` takes it: one of a file by that file."""
    origin = str(inputs.get("method"))
    return (
        commands.method(origin, variant.partition("(")[2].removesuffix(")"))
        if ".py:" in origin
        else variant
    )


def _document(part: PairedComparison) -> dict[str, Any]:
    shared = {name: getattr(part.section.first, name) for name in SHARED}
    tested = part.claim in ("better", "worse", "not significant")
    return {
        "suite": part.section.suite,
        **shared,
        "claim": part.claim,
        **dict(zip(("wins", "ties", "losses"), part.counts, strict=True)),
        "mean_difference": part.mean,
        "test": asdict(part.test) if tested and isinstance(part.test, Pair) else None,
        "fixed_tasks_interval": part.fixed,
        "tasks": [asdict(on) for on in part.tasks],
        "not_compared": part.lacking,
        "sentences": sentences(part),
    }
