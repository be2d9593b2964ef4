"""A table's columns as they are shown: numbers rounded, the best and the second marked, gaps as
gaps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import unknown
from harness.reporting.costs import COSTS, GROUPS, USUAL
from harness.reporting.display import NOTHING, places_of, rounded, span
from harness.reporting.section import MethodSummary, Section
from harness.reporting.statistics import MEAN, STATISTICS, Statistic
from harness.reporting.statistics.common import LEVEL, TooFew
from harness.reporting.statistics.wilcoxon import pairwise
from harness.tasks.kinds import metric_of

NEAR = "\u2248"
MANY_TASKS = 8
"""With more, tasks don't get a column each: every format has its own way to show them."""


@dataclass(frozen=True)
class Entry:
    """One entry of a table as shown: its number, the small print after it, its place (1, 2, or 0),
    and whether it is within the best's interval."""

    text: str
    detail: str = ""
    place: int = 0
    near: bool = False


@dataclass(frozen=True)
class Column:
    title: str
    entries: dict[str, Entry]
    """By variant."""
    task: str = ""
    """Whose scores it has; empty in a column of something else."""


@dataclass(frozen=True)
class Layout:
    """Which columns a table has."""

    groups: bool = False
    """Means of groups in place of tasks."""
    columns: tuple[str, ...] = USUAL
    """Those beside scores and means, by their names or those of `GROUPS`."""
    baseline: str | None = None
    """A variant that the others are compared with."""


PLAIN = Layout()


def task_columns(section: Section) -> list[Column]:
    """One column per task. A segmentation task has one at a single scale, which means and ranks
    are computed from, and one at several scales if that was scored."""
    columns = []
    for task in section.tasks:
        columns.append(task_column(section, task))
        several = multi_scale_column(section, task)
        if several is not None:
            columns.append(several)
    return columns


def task_column(section: Section, task: str) -> Column:
    measured = metric_of(section.first.metric)
    title = f"{task} {measured.title}-SS" if measured.scales else task
    return Column(title, _entries(section, task), task)


def multi_scale_column(section: Section, task: str) -> Column | None:
    """A segmentation task's second column: its mIoU at several scales and mirrored, if that was
    scored."""
    rows = [row for (_, other), row in section.results.items() if other == task]
    measured = metric_of(section.first.metric)
    if not measured.scales or not any(row.n_ms for row in rows):
        return None
    return Column(f"{task} {measured.title}-MS", _entries(section, task, multi_scale=True), task)


def _entries(section: Section, task: str, multi_scale: bool = False) -> dict[str, Entry]:
    """A task's scores by variant."""
    rows = {variant: section.results.get((variant, task)) for variant in section.scores}
    figures = {
        variant: (row.mean_ms, row.std_ms, row.n_ms) if multi_scale else (row.mean, row.std, row.n)
        for variant, row in rows.items()
        if row is not None
    }
    means = {variant: figures.get(variant, (None, None, 0))[0] for variant in rows}
    places, entries = places_of(means, 1), {}
    for variant, row in rows.items():
        mean, std, n = figures.get(variant, (None, None, 0))
        if mean is None:
            failed = row is not None and not multi_scale
            entries[variant] = Entry("failed" if failed else NOTHING)
            continue
        alone = f"n={n}" if section.seeds > 1 else ""
        place = places.get(variant, 0)
        near = not multi_scale and place != 1 and variant in section.near[task]
        entries[variant] = Entry(
            rounded(mean, 1), alone if std is None else f"±{std:.1f}", place, near
        )
    return entries


def summary_columns(section: Section, layout: Layout) -> list[Column]:
    columns = [_column(section, name) for name in layout.columns if name in USUAL]
    if layout.groups:
        columns += [group_column(section, group) for group in section.groups]
    columns += [
        statistic_column(section, statistic)
        for statistic in shown_statistics(section)
        if layout.groups or not statistic.beside_groups
    ]
    if layout.baseline is not None:
        columns += _against(section, layout.baseline)
    return columns + [_column(section, name) for name in layout.columns if name not in USUAL]


def title_of_column(name: str) -> str:
    """Of a column that `Layout.columns` names."""
    return COSTS[name].title if name in COSTS else _OTHERS[name][0]


def _column(section: Section, name: str) -> Column:
    """A column beside scores and means."""

    def text(summary: MethodSummary) -> str:
        if name in COSTS:
            return COSTS[name].text(summary.costs[name])
        return _OTHERS[name][1](summary)

    entries = {variant: Entry(text(summary)) for variant, summary in section.methods.items()}
    return Column(title_of_column(name), entries)


_OTHERS: dict[str, tuple[str, Callable[[MethodSummary], str]]] = {
    "year": ("Year", lambda summary: NOTHING if summary.year is None else f"{summary.year}"),
    "trials": ("Trials", lambda summary: span(summary.trials)),
    "epochs": ("Epochs", lambda summary: span(summary.epochs)),
    "ppt": ("PPT", lambda summary: rounded(summary.ppt, 3)),
}
"""Title and text of columns that aren't costs."""
COLUMNS = (*COSTS, *_OTHERS)
"""What `Layout.columns` may name."""


def named_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Each column once, in this order, those of groups one by one. Raises `BadInput`."""
    for name in names:
        if name not in COLUMNS and name not in GROUPS:
            raise unknown("column", name, [*COLUMNS, *GROUPS])
    return tuple(dict.fromkeys(one for name in names for one in GROUPS.get(name, (name,))))


def group_column(section: Section, group: str) -> Column:
    """The means over a group's tasks."""
    tasks = section.groups[group]
    means = {variant: summary.group_means[group] for variant, summary in section.methods.items()}
    return _statistic(f"{group} ({len(tasks)})", means, section, tasks)


def shown_statistics(section: Section) -> list[Statistic]:
    """Those for which the section has enough variants and groups."""
    return [
        statistic
        for statistic in STATISTICS
        if len(section.scores) >= statistic.fewest_variants
        and len(section.groups) >= statistic.fewest_groups
    ]


def statistic_column(section: Section, statistic: Statistic) -> Column:
    values = {
        variant: summary.statistics[statistic.name] for variant, summary in section.methods.items()
    }
    return _statistic(statistic.title(section.groups), values, section, section.tasks, statistic)


def _statistic(
    title: str,
    values: Mapping[str, float | None],
    section: Section,
    tasks: Sequence[str],
    statistic: Statistic = MEAN,
) -> Column:
    """A column of a statistic over these tasks. A variant that lacks a task gets the mean of those
    it has, with their number, and takes no place."""
    places, entries = places_of(values, statistic.digits, statistic.lowest_is_best), {}
    for variant, value in values.items():
        scores = section.scores[variant]
        present = sum(task in scores for task in tasks)
        if value is None and present and statistic.partial is not None:
            entries[variant] = Entry(
                rounded(statistic.partial(scores, tasks), statistic.digits),
                f"{present}/{len(tasks)}",
            )
        else:
            entries[variant] = Entry(rounded(value, statistic.digits), place=places.get(variant, 0))
    return Column(title, entries)


def _against(section: Section, baseline: str) -> list[Column]:
    """How much better than the baseline, with the interval over tasks, and a star where Wilcoxon's
    test with Holm's correction is significant."""
    result = pairwise(section.scores, section.tasks, baseline)
    pairs = {} if isinstance(result, TooFew) else {pair.one: pair for pair in result}
    entries, counts = {}, {}
    for variant in section.scores:
        pair = pairs.get(variant)
        star = "*" if pair and pair.p_holm < LEVEL else ""
        entries[variant] = (
            Entry(f"{pair.mean:+.2f}{star}", f"[{pair.low:+.1f}, {pair.high:+.1f}]")
            if pair
            else Entry(NOTHING)
        )
        counts[variant] = Entry(f"{pair.wins}/{pair.ties}/{pair.losses}" if pair else NOTHING)
    return [Column(f"To {baseline}", entries), Column("W/T/L", counts)]
