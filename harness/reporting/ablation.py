"""`harness ablate`: every valid setting of a method's toggles, through the ordinary engine, and
what each is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness.errors import BadInput
from harness.planning import user_errors
from harness.planning.cell import PlannedCell
from harness.planning.declaration import own_arguments
from harness.planning.plan import RunPlan
from harness.planning.variants import parse
from harness.reporting.display import NOTHING
from harness.reporting.rows import Run, read
from harness.reporting.statistics.intervals import mean_difference
from harness.reporting.statistics.means import group_means, mean_of
from harness.reporting.statistics.statistic import Scores
from harness.store import Store
from harness.tasks.kinds import metric_of


@dataclass(frozen=True)
class Ablation:
    """The grid of a method's toggles."""

    method: str
    toggles: tuple[str, ...]
    settings: Mapping[str, tuple[bool, ...]]
    """What is on in each variant, by the variant's label; nothing on comes first. Arguments at
    their default aren't written into a variant, so that a cell is the same one that `harness run`
    fills."""
    refused: Mapping[tuple[bool, ...], str]
    """Settings that make no sense together, with the method's reason."""

    @property
    def methods(self) -> str:
        """As `--methods` takes it."""
        return ",".join(self.settings)


def ablation(method: str) -> Ablation:
    """The valid grid of `method`: a name, a variant whose arguments stay fixed, or FILE.py:CLASS.
    Raises `BadInput`."""
    variants = parse(method)
    if len(variants) != 1:
        raise BadInput(f"--method {method}: one method at a time.")
    (variant,) = variants
    toggles = tuple(name for name in variant.method.toggles if name not in variant.arguments)
    if not toggles:
        raise BadInput(f"method '{variant.label}' has no toggles to switch.")
    defaults = {name: own_arguments(variant.method)[name].default for name in toggles}
    settings: dict[str, tuple[bool, ...]] = {}
    refused: dict[tuple[bool, ...], str] = {}
    for on in sorted(product((False, True), repeat=len(toggles)), key=sum):
        changed = {
            name: value for name, value in zip(toggles, on, strict=True) if value != defaults[name]
        }
        arguments = {**variant.arguments, **changed}
        inside = ",".join(
            f"{name}={str(value).lower() if isinstance(value, bool) else value}"
            for name, value in sorted(arguments.items())
        )
        try:
            variant.method.check({**variant.arguments, **dict(zip(toggles, on, strict=True))})
        except ValueError as error:
            refused[on] = str(error)
            continue
        except (Exception, SystemExit) as error:  # the user's code may fail in any way
            raise BadInput(
                f"{variant.label}: its check() fails: {user_errors.line(error)}."
            ) from error
        settings[f"{variant.origin}({inside})" if inside else variant.origin] = on
    return Ablation(variant.label, toggles, settings, refused)


def table(store: Store, plan: RunPlan, grid: Ablation) -> RenderableType:
    """One row per setting: check marks, group means, mean, and the difference to all off with its
    95 % interval. One table per metric."""
    runs = read(store, [cell.key for cell in plan.cells]).runs
    tables = []
    for metric in dict.fromkeys(cell.card.metric for cell in plan.cells):
        cells = [cell for cell in plan.cells if cell.card.metric == metric]
        tables += [
            _table(runs, cells, grid),
            *(Text(note, style="dim") for note in _notes(cells, grid)),
        ]
    return Group(*tables)


def _table(runs: Sequence[Run], cells: Sequence[PlannedCell], grid: Ablation) -> Table:
    groups: dict[str, list[str]] = {}
    for cell in cells:
        of_group = groups.setdefault(cell.card.group, [])
        if cell.card.name not in of_group:
            of_group.append(cell.card.name)
    tasks = list(dict.fromkeys(cell.card.name for cell in cells))
    labels = dict(
        zip(
            (cell.variant.label for cell in cells[: len(grid.settings)]),
            grid.settings.values(),
            strict=True,
        )
    )
    by_seed = {label: _by_task_and_seed(runs, label, tasks) for label in labels}
    means: Scores = {
        label: {task: sum(scores.values()) / len(scores) for task, scores in of.items()}
        for label, of in by_seed.items()
    }
    rendered = Table(
        box=SIMPLE_HEAD, pad_edge=False, title=f"{grid.method}: its toggles", title_justify="left"
    )
    for name in (*grid.toggles, *groups, f"mean of {len(tasks)}", "to all off", "95 % interval"):
        rendered.add_column(escape(name), justify="center" if name in grid.toggles else "right")
    off, *_ = labels
    for label, on in labels.items():
        marks = ["✓" if value else "·" for value in on]
        over_groups = [_figure(value) for value in group_means(means[label], groups).values()]
        rendered.add_row(
            *marks,
            *over_groups,
            _figure(mean_of(means[label], tasks)),
            *_difference(by_seed, label, off),
        )
    return rendered


def _by_task_and_seed(
    runs: Sequence[Run], label: str, tasks: Sequence[str]
) -> dict[str, dict[int, float]]:
    scores: dict[str, dict[int, float]] = {}
    for run in runs:
        if run.cell.variant == label and run.cell.task in tasks:
            scores.setdefault(run.cell.task, {})[run.seed] = run.score
    return scores


def _difference(
    by_seed: Mapping[str, Mapping[str, Mapping[int, float]]], label: str, off: str
) -> tuple[str, str]:
    if label == off:
        return "", ""
    difference = mean_difference(by_seed[label], by_seed[off])
    if difference is None:
        return NOTHING, NOTHING
    interval = (
        "too few tasks"
        if difference.low is None or difference.high is None
        else f"[{difference.low:+.1f}, {difference.high:+.1f}]"
    )
    return f"{difference.mean:+.2f}", interval


def _figure(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def _notes(cells: Sequence[PlannedCell], grid: Ablation) -> Sequence[str]:
    seeds = sorted({len(cell.seeds) for cell in cells})
    metric = metric_of(cells[0].card.metric).title
    notes = [
        f"{metric} in %, mean over {seeds[0]} seeds. Interval: Student's t over tasks taken as a"
        " sample, each task's difference averaged over paired seeds."
    ]
    for on, reason in grid.refused.items():
        names = "+".join(name for name, value in zip(grid.toggles, on, strict=True) if value)
        notes.append(f"Left out, {names}: {reason}.")
    return [
        *notes,
        *sorted({cell.variant.method.note for cell in cells if cell.variant.method.note}),
    ]
