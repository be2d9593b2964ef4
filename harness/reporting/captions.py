"""The words around a table, in every format: its title, its caption, and notes on what differs
between rows."""

from collections import Counter
from collections.abc import Mapping, Sequence

from harness.reporting.columns import NEAR, PLAIN, Layout
from harness.reporting.costs import COSTS, PPT_HELP, on_machines
from harness.reporting.section import Section
from harness.reporting.statistics.common import LEVEL, TooFew
from harness.reporting.statistics.friedman import friedman
from harness.reporting.statistics.wilcoxon import pairwise
from harness.tasks.cards import load_suites
from harness.tasks.kinds import metric_of
from harness.text import first_few


def metric_name(section: Section) -> str:
    return metric_of(section.first.metric).title


def caption(
    section: Section,
    second: str,
    spread: bool = True,
    near: str = NEAR,
    groups: bool = False,
    layout: Layout = PLAIN,
) -> str:
    """What the numbers are and what their marks mean; `near` is how cells within the best's
    interval are marked, empty for not at all."""
    metric = metric_name(section)
    if metric_of(section.first.metric).scales:
        several = (
            ", MS: six scales and their mirror images"
            if any(row.n_ms for row in section.board)
            else ""
        )
        metric += f" (SS: single scale{several})"
    over = (
        f"mean{' ± standard deviation' if spread else ''} over {section.seeds} seeds"
        if section.seeds > 1
        else "one seed, so no spread"
    )
    marks = f" Bold: best, {second}: second." if len(section.scores) > 1 else ""
    if near and any(section.near.values()):
        marks += f" {near}: within the best's 95 % interval (Student's t over its seeds)."
    if groups and len(section.groups) > 1:
        marks += (
            f" Mean of {len(section.tasks)}: over tasks; mean of {len(section.groups)} groups: over"
            " groups' means."
        )
    return " ".join([f"{metric} in %, {over}.{marks}", *_defined(section, layout)])


def _budgets(trials: Mapping[str, Sequence[int]]) -> str:
    """`vpt 8-10, linear 3`; of many variants, the most frequent as `all others 10`."""
    spans = {
        variant: "-".join(map(str, sorted({min(counts), max(counts)})))
        for variant, counts in trials.items()
    }
    usual, count = Counter(spans.values()).most_common(1)[0]
    if len(spans) <= 6 or count < 2:
        return ", ".join(f"{variant} {span}" for variant, span in spans.items())
    named = [f"{variant} {span}" for variant, span in spans.items() if span != usual]
    return ", ".join([*named, f"all others {usual}"])


def _defined(section: Section, layout: Layout) -> list[str]:
    """What the columns beside scores are, a sentence each; and where measured ones come from."""
    costs = [COSTS[name] for name in layout.columns if name in COSTS]
    sentences = [f"{cost.title}: {cost.help}." for cost in costs]
    sentences += [f"PPT: {PPT_HELP}."] if "ppt" in layout.columns else []
    where = on_machines(section.devices) if any(cost.measured for cost in costs) else None
    return sentences + ([where] if where else [])


def _absent(section: Section) -> str:
    """The tasks of the section's suite that it has no result on; empty where it has all, or is of
    no suite that ships."""
    suite = load_suites().get(section.suite)
    tasks = suite.tasks if suite else ()
    lacking = [task for task in tasks if task not in section.tasks]
    few = f"{section.suite} has {len(tasks)} tasks; there is no result on {first_few(lacking, 6)}."
    return few if lacking else ""


def notes_of(section: Section) -> list[str]:
    """What a reader must know to trust the table: gaps, and whatever differs between rows."""
    results, notes = section.results.values(), _failures(section)
    fewer = [
        f"{row.variant} on {row.task} ({row.n})" for row in results if 0 < row.n < section.seeds
    ]
    if fewer:
        notes.append(f"Fewer than {section.seeds} seeds: {first_few(fewer, 6)}.")
    if section.missing:
        notes.append(
            f"No result yet on {len(section.missing)} of {len(section.wanted or ())} tasks:"
            f" {first_few(section.missing, 6)}."
        )
    if section.wanted is None and (absent := _absent(section)):
        notes.append(absent)
    if section.left_out:
        kept = (
            f"Only the {len(section.tasks)} tasks on which every method has a score:"
            f" {', '.join(section.tasks)}"
        )
        notes.append(f"{kept} (left out: {', '.join(section.left_out)}).")
    if section.without:
        notes.append(f"Left out because they have no score: {first_few(section.without, 6)}.")
    lacking = {
        variant: [task for task in section.tasks if task not in scores]
        for variant, scores in section.scores.items()
    }
    if len(section.scores) > 1 and (
        gaps := [f"{variant} ({', '.join(tasks)})" for variant, tasks in lacking.items() if tasks]
    ):
        notes.append(
            f"Not ranked because they lack tasks: {first_few(gaps, 6)}. Means over different"
            " tasks can't be compared; --complete-only keeps the common tasks."
        )
    trials = {
        variant: [row.cell.trials for row in results if row.variant == variant]
        for variant in section.scores
    }
    if len({count for counts in trials.values() for count in counts}) > 1:
        notes.append(f"Tuning budgets differ; trials per task: {_budgets(trials)}.")
    for variant in section.scores:
        versions = sorted({row.cell.version for row in results if row.variant == variant})
        if len(versions) > 1:
            notes.append(f"{variant} was run in versions {', '.join(versions)} on different tasks.")
        sources = sorted({row.cell.method_source[:8] for row in results if row.variant == variant})
        if len(sources) > 1:
            notes.append(
                f"{variant} was run from different code on different tasks (sha256"
                f" {', '.join(one or 'unknown' for one in sources)})."
            )
    for task in section.tasks:
        if len({row.cell.data for row in results if row.task == task}) > 1:
            notes.append(f"On {task}, methods were run on different data.")
    if overlap := _overlap(section):
        notes.append(f"Test images that are also in train or val, byte for byte: {overlap}.")
    old = [f"{row.variant} on {row.task} ({row.superseded})" for row in results if row.superseded]
    if old:
        notes.append(
            f"Not shown: runs of an older version, code, card or data: {first_few(old, 6)}. They"
            " stay in the store."
        )
    return notes + _warnings(section) + sorted({row.cell.note for row in results if row.cell.note})


def _overlap(section: Section) -> str:
    """By task; more than its card expects was allowed with --allow-overlap."""
    tasks = {}
    for row in section.results.values():
        if row.cell.overlap:
            allowed = row.cell.overlap > row.cell.overlap_expected
            why = "allowed by --allow-overlap" if allowed else "as published"
            tasks[f"{row.task} {row.cell.overlap:,} of {row.cell.overlap_of:,} ({why})"] = None
    return ", ".join(tasks)


def tests_of(section: Section, layout: Layout) -> list[str]:
    """What a test says about the columns that a layout adds; a sentence where there is too little
    data for one."""
    if layout.baseline is None:
        return []
    pairs = pairwise(section.scores, section.tasks, layout.baseline)
    if isinstance(pairs, TooFew):
        return [f"To {layout.baseline}: {pairs}"]
    tasks = (
        f"95 % interval of the mean difference over {len(pairs[0].tasks)} tasks, taken as a sample"
        " (studentised bootstrap)"
    )
    star = (
        f"*: Wilcoxon signed-rank over tasks, p < {LEVEL} by Holm's correction over"
        f" {pairs[0].family} comparisons"
    )
    friedman_test = friedman(section.scores, section.tasks)
    overall = (
        ""
        if isinstance(friedman_test, TooFew)
        else (
            f" Friedman's test that no method differs: p = {friedman_test.f_p:.2g} (Iman and"
            " Davenport's F)."
        )
    )
    return [
        f"To {layout.baseline}: {tasks}. {star}. W/T/L: wins, ties, losses over tasks.{overall}"
    ]


def _failures(section: Section) -> list[str]:
    """One line per reason; JSON has them one by one."""
    reasons: dict[str, list[str]] = {}
    for row in section.results.values():
        by_reason: dict[str, list[int]] = {}
        for seed, reason in row.gaps.items():
            by_reason.setdefault(reason, []).append(seed)
        for reason, seeds in by_reason.items():
            reasons.setdefault(reason, []).append(f"{row.variant} on {row.task} ({_seeds(seeds)})")
    lines = [
        f"Failed: {first_few(places, 6)}: {_short(reason)}" for reason, places in reasons.items()
    ]
    return lines[:6] + (
        [f"{len(lines) - 6} more reasons for failures: see --format json."]
        if len(lines) > 6
        else []
    )


def _warnings(section: Section) -> list[str]:
    """What runs report about themselves: one line per sentence and method."""
    places: dict[tuple[str, str], list[str]] = {}
    for row in section.results.values():
        for sentence in row.warnings:
            places.setdefault((row.variant, sentence), []).append(row.task)
    lines = [
        f"{variant} on {first_few(tasks, 6)}: {_short(sentence, 240)}"
        for (variant, sentence), tasks in places.items()
    ]
    return lines[:8] + (
        [f"{len(lines) - 8} more warnings: see --format json."] if len(lines) > 8 else []
    )


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}"


def _short(text: str, most: int = 260) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def title_of(section: Section) -> str:
    return f"{section.suite} · {section.backbone} · protocol {section.protocol}"
