"""What each setting of a method's toggles is worth: its difference to all of them off, over tasks,
with an interval."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.errors import BadInput
from harness.io import commands
from harness.reporting.display import rounded
from harness.reporting.figures.style import BLUE, DOUBLE, GREY, LINE, SINGLE
from harness.reporting.figures.text import measured, names, note, shown
from harness.reporting.section import Section
from harness.reporting.statistics.intervals import Difference, mean_difference
from harness.store import Store


@dataclass(frozen=True)
class ToggleGrid:
    """Variants that differ in nothing but boolean arguments."""

    name: str
    """The method, with the arguments that all of them fix."""
    toggles: tuple[str, ...]
    settings: dict[str, tuple[bool, ...]]
    """What is on in each variant; fewer on come first."""

    @property
    def off(self) -> str | None:
        """The variant with nothing on."""
        return next((variant for variant, on in self.settings.items() if not any(on)), None)


def families(variants: Sequence[str]) -> list[ToggleGrid]:
    """Families of two or more, by their labels, the largest first.

    A label omits arguments at their default, so an omitted one is the opposite of what other
    labels have; where these have both, the family is ambiguous and left out.
    """
    read: dict[tuple[str, ...], dict[str, dict[str, bool]]] = {}
    for variant in variants:
        name, _, inside = variant.partition("(")
        arguments = [part.strip() for part in inside.removesuffix(")").split(",") if part.strip()]
        switches = {
            match[1]: match[2] == "true"
            for part in arguments
            if (match := re.fullmatch(r"([^=]+)=(true|false)", part))
        }
        fixed = [part for part in arguments if part.partition("=")[0] not in switches]
        read.setdefault((name, *fixed), {})[variant] = switches
    grids = [_family(fixed, switches) for fixed, switches in read.items() if len(switches) > 1]
    return sorted((family for family in grids if family), key=lambda family: -len(family.settings))


def _family(
    fixed: tuple[str, ...], switches: Mapping[str, Mapping[str, bool]]
) -> ToggleGrid | None:
    written = {
        name: [of[name] for of in switches.values() if name in of]
        for name in sorted({name for of in switches.values() for name in of})
    }
    same = {
        name
        for name, values in written.items()
        if len(values) == len(switches) and len(set(values)) == 1
    }
    toggles = tuple(name for name in written if name not in same)
    if any(len(set(written[name])) > 1 and len(written[name]) < len(switches) for name in toggles):
        return None
    settings = {
        variant: tuple(of.get(name, not written[name][0]) for name in toggles)
        for variant, of in switches.items()
    }
    if len(set(settings.values())) < len(settings):
        return None
    inside = ",".join(
        [
            *fixed[1:],
            *(f"{name}={str(written[name][0]).lower()}" for name in written if name in same),
        ]
    )
    ordered = dict(
        sorted(settings.items(), key=lambda item: (sum(item[1]), [not on for on in item[1]]))
    )
    return ToggleGrid(f"{fixed[0]}({inside})" if inside else fixed[0], toggles, ordered)


def draw(section: Section, store: Store | None = None) -> Figure:
    grids = families(list(section.scores))
    if not grids:
        some = commands.command("ablate", store=store)
        raise BadInput(
            "figure ablation: no two variants differ only in their toggles. Run them with"
            f" `{some}`."
        )
    if len(grids) > 1 and len(grids[0].settings) == len(grids[1].settings):
        raise BadInput(
            "figure ablation: choose one method with --methods:"
            f" {', '.join(shown(family.name) for family in grids)}."
        )
    family, off = grids[0], grids[0].off
    if off is None:
        raise BadInput(
            f"figure ablation: no variant of {shown(family.name)} has all of"
            f" {', '.join(map(shown, family.toggles))} off."
        )
    by_seed = {
        variant: {task: section.results[variant, task].scores for task in section.scores[variant]}
        for variant in family.settings
    }
    if len(by_seed[off]) < len(section.tasks):
        raise BadInput(
            f"figure ablation: {shown(off)}, with all off, has no score on some of the"
            f" {len(section.tasks)} tasks."
        )
    worth = {
        variant: mean_difference(by_seed[variant], by_seed[off]) for variant in family.settings
    }
    return _bars(section, family, worth)


def _bars(section: Section, family: ToggleGrid, worth: Mapping[str, Difference | None]) -> Figure:
    """Toggles as dots on the left, filled if on; bars on the right, with the mean over tasks at
    their ends."""
    heads = names(family.toggles, 12, 1)
    wide = len(family.toggles) > 4
    head = max(measured(name)[0] for name in heads.values()) / 72
    figure = Figure(
        figsize=(DOUBLE if wide else SINGLE, len(worth) * LINE * 1.25 + head + 0.55),
        layout="constrained",
    )
    lost = [variant for variant, difference in worth.items() if difference is None]
    note(
        figure,
        section,
        [
            (
                f"{family.name}: mean over {len(section.tasks)} tasks, as the difference to all"
                " off, paired by task and seed; on the right, the mean itself. Line: 95 % interval"
                " (Student's t), tasks taken as a sample; hatched where it contains 0 or there"
                " are too few tasks."
            ),
            *([f"Left out because they lack scores: {', '.join(lost)}."] if lost else []),
        ],
    )
    dots, bars = figure.subplots(
        1,
        2,
        sharey=True,
        width_ratios=[0.22 * len(family.toggles), (DOUBLE if wide else SINGLE) - 1.1],
    )
    _dots(dots, family, list(heads.values()))
    bars.axvline(0, color="black", linewidth=0.6)
    for y, (variant, difference) in enumerate(worth.items()):
        if difference is None:
            bars.plot(0, y, "x", color=GREY, gid=f"gap-{y}")
            continue
        span = (
            (difference.low, difference.high)
            if difference.low is not None and difference.high is not None
            else None
        )
        sure = span is not None and not span[0] <= 0 <= span[1]
        bars.barh(
            y,
            difference.mean,
            0.62,
            color=BLUE if sure else "white",
            edgecolor=BLUE,
            hatch="" if sure else "/////",
            gid=f"bar-{y}",
        )
        if span and variant != family.off:
            bars.plot(span, (y, y), color="black", linewidth=0.9, gid=f"interval-{y}")
        bars.text(
            1.01,
            y,
            rounded(section.methods[variant].mean, 1),
            transform=bars.get_yaxis_transform(),
            va="center",
            gid=f"mean-{y}",
        )
    bars.text(1.01, -1, "Mean", transform=bars.get_yaxis_transform(), va="center")
    bars.set_ylim(len(worth) - 0.4, -0.6)
    bars.set_xlabel("Points over all off")
    bars.tick_params(axis="y", left=False, labelleft=False)
    bars.spines["left"].set_visible(False)
    return figure


def _dots(axes: Axes, family: ToggleGrid, heads: Sequence[str]) -> None:
    for column in range(len(heads)):
        for y, on in enumerate(setting[column] for setting in family.settings.values()):
            axes.plot(
                column,
                y,
                "o",
                color="black",
                mfc="black" if on else "white",
                ms=4.5,
                mew=0.6,
                gid=f"toggle-{y}-{column}",
            )
    axes.set_xlim(-0.6, len(heads) - 0.4)
    axes.set_xticks(range(len(heads)), heads, rotation=90)
    axes.tick_params(
        length=0, top=False, labeltop=True, labelbottom=False, left=False, labelleft=False
    )
    axes.spines[:].set_visible(False)
