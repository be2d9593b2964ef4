"""A table's columns as they are shown: numbers rounded, the best and the second marked, gaps as
gaps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.reporting.significance import LEVEL, TooFew, pairwise
from harness.reporting.stats import Section, mean_of_present

NOTHING = "\u2013"


def rounded(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def counted(value: float | None) -> str:
    """Three digits are enough: 960, 9.6k, 46.1k, 1.25M."""
    if value is None:
        return NOTHING
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size * 0.9995:
            return (
                f"{value / size:.3g}{unit}" if value < size * 999.5 else f"{value / size:.0f}{unit}"
            )
    return f"{value:.0f}"


def places_of(
    values: Mapping[str, float | None], digits: int, lowest: bool = False
) -> dict[str, int]:
    """Who is first and who second, {variant: 1 or 2}, by the digits that are shown: what looks
    equal shares a place."""
    shown = {
        variant: round(value, digits) for variant, value in values.items() if value is not None
    }
    if len(values) < 2:
        return {}
    best = sorted(set(shown.values()), reverse=not lowest)[:2]
    return {variant: best.index(value) + 1 for variant, value in shown.items() if value in best}


NEAR = "\u2248"


@dataclass(frozen=True)
class Entry:
    """A square as shown: its number, what comes small after it, its place (1, 2, or 0), and whether
    it is within the best's interval."""

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
    """Means of the groups for the tasks."""
    budgets: bool = False
    """Trials and epochs a task, and forward-image units in all."""
    baseline: str | None = None
    """A variant that the others are held against."""


PLAIN = Layout()


def task_columns(section: Section) -> list[Column]:
    """A column a task; of segmentation one at a single scale, which means and ranks are of, and
    where there is any, one at several."""
    columns = []
    for task in section.tasks:
        segmentation = section.first["metric"] == "miou"
        columns.append(
            Column(f"{task} mIoU-SS" if segmentation else task, _entries(section, task), task)
        )
        if segmentation and any(
            row["n_ms"] for (_, other), row in section.squares.items() if other == task
        ):
            columns.append(Column(f"{task} mIoU-MS", _entries(section, task, "_ms"), task))
    return columns


def _entries(section: Section, task: str, which: str = "") -> dict[str, Entry]:
    """A task's scores by variant. `which`: the ending of the board's columns."""
    rows = {variant: section.squares.get((variant, task)) for variant in section.scores}
    means = {
        variant: row[f"mean{which}"] if row is not None and row[f"n{which}"] else None
        for variant, row in rows.items()
    }
    places, entries = places_of(means, 1), {}
    for variant, row in rows.items():
        mean = means[variant]
        if row is not None and mean is not None:
            n = row[f"n{which}"]
            spread = (
                f"±{row[f'std{which}']:.1f}" if n > 1 else f"n={n}" if section.seeds > 1 else ""
            )
            place = places.get(variant, 0)
            entries[variant] = Entry(
                f"{mean:.1f}",
                spread,
                place,
                not which and place != 1 and variant in section.near[task],
            )
        else:
            entries[variant] = Entry("failed" if row is not None and not which else NOTHING)
    return entries


def summary_columns(section: Section, layout: Layout) -> list[Column]:
    methods, count = section.methods, len(section.tasks)
    columns = [
        Column(
            "Params", {variant: Entry(counted(said["params"])) for variant, said in methods.items()}
        )
    ]
    if layout.groups:
        for group, tasks in section.groups.items():
            means = {variant: said["group_means"][group] for variant, said in methods.items()}
            columns.append(_means(f"{group} ({len(tasks)})", means, section, tasks))
    columns.append(
        _means(
            f"Mean of {count}",
            {variant: said["mean"] for variant, said in methods.items()},
            section,
            section.tasks,
        )
    )
    if layout.groups and len(section.groups) > 1:
        means = {variant: said["mean_of_groups"] for variant, said in methods.items()}
        columns.append(_means(f"Mean of {len(section.groups)} groups", means))
    if len(methods) > 1:
        columns.append(
            _means(
                "Rank",
                {variant: said["mean_rank"] for variant, said in methods.items()},
                lowest=True,
            )
        )
    if layout.baseline is not None:
        columns += _against(section, layout.baseline)
    if layout.budgets:
        columns += [
            Column(title, {variant: Entry(_range(said[name])) for variant, said in methods.items()})
            for title, name in (("Trials", "trials"), ("Epochs", "epochs"))
        ]
        columns.append(
            Column(
                "Units",
                {variant: Entry(counted(said["units"])) for variant, said in methods.items()},
            )
        )
    return columns


def _means(
    title: str,
    values: Mapping[str, float | None],
    section: Section | None = None,
    tasks: Sequence[str] = (),
    lowest: bool = False,
) -> Column:
    """A column of means. One that lacks a task is the mean of those there are, says of how many,
    and takes no place."""
    places = places_of(values, 2, lowest)
    entries = {}
    for variant, value in values.items():
        present = [
            task for task in tasks if section is not None and task in section.scores[variant]
        ]
        if value is None and section is not None and present:
            entries[variant] = Entry(
                rounded(mean_of_present(section.scores[variant], tasks), 2),
                f"{len(present)}/{len(tasks)}",
            )
        else:
            entries[variant] = Entry(rounded(value, 2), place=places.get(variant, 0))
    return Column(title, entries)


def _against(section: Section, baseline: str) -> list[Column]:
    """How much better than the baseline, with the interval over tasks, a star where Wilcoxon's test
    with Holm's correction finds it so."""
    found = pairwise(section.scores, section.tasks, baseline)
    pairs = {} if isinstance(found, TooFew) else {pair.one: pair for pair in found}
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


def _range(ends: tuple[float, float] | None) -> str:
    if ends is None:
        return NOTHING
    low, high = ends
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"
