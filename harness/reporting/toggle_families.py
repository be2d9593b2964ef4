"""Ablations among the stored variants: those of one method that differ in boolean arguments."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness.reporting.section import Section
from harness.reporting.statistics.intervals import Difference, mean_difference


@dataclass(frozen=True)
class FamilySetting:
    """One variant of a family."""

    variant: str
    on: dict[str, bool | None]
    """By toggle; None where the variant doesn't write it and its default can't be inferred
    from the others."""
    difference: Difference | None
    """To the reference; None for itself, and where the two don't have the same tasks and a common
    seed on each."""


@dataclass(frozen=True)
class ToggleFamily:
    """A method whose variants switch toggles, all else being equal."""

    name: str
    """The method with the arguments that all have."""
    toggles: tuple[str, ...]
    reference: str
    """The variant with all toggles off; where that wasn't run, the one with the fewest on."""
    all_off: bool
    settings: tuple[FamilySetting, ...]
    """Fewest toggles on first."""


def families(section: Section) -> list[ToggleFamily]:
    by_method: dict[str, dict[str, dict[str, bool]]] = {}
    for variant in section.scores:
        written = arguments(variant)
        toggles = {
            name: value == "true" for name, value in written.items() if value in ("true", "false")
        }
        rest = ",".join(f"{name}={value}" for name, value in written.items() if name not in toggles)
        method = variant.partition("(")[0]
        by_method.setdefault(f"{method}({rest})" if rest else method, {})[variant] = toggles
    return [
        _family(section, name, variants)
        for name, variants in by_method.items()
        if len({str(on) for on in variants.values()}) > 1
    ]


def arguments(variant: str) -> dict[str, str]:
    """The fixed arguments of a variant as written: `ivpt(da=false,prompts=50)` has `{"da": "false",
    "prompts": "50"}`."""
    inside = variant.partition("(")[2].removesuffix(")")
    return dict(
        sorted(
            (name.strip(), value.strip())
            for name, value in re.findall(r"(\w+)\s*=\s*(.*?)(?:,(?=\s*\w+\s*=)|$)", inside)
        )
    )


def _family(
    section: Section, name: str, variants: Mapping[str, Mapping[str, bool]]
) -> ToggleFamily:
    toggles = tuple(sorted({toggle for on in variants.values() for toggle in on}))
    written = {
        toggle: {on[toggle] for on in variants.values() if toggle in on} for toggle in toggles
    }
    # A variant leaves out what is at its default, so where only one value is ever written the
    # default is the other.
    defaults = {
        toggle: None if len(values) > 1 else not next(iter(values))
        for toggle, values in written.items()
    }
    settings = {
        variant: {toggle: on.get(toggle, defaults[toggle]) for toggle in toggles}
        for variant, on in variants.items()
    }
    order = sorted(
        settings,
        key=lambda variant: (
            sum(value is not False for value in settings[variant].values()),
            variant,
        ),
    )
    reference = order[0]
    runs = {variant: _by_task(section, variant) for variant in order}
    return ToggleFamily(
        name,
        toggles,
        reference,
        not any(value is not False for value in settings[reference].values()),
        tuple(
            FamilySetting(
                variant,
                settings[variant],
                None if variant == reference else mean_difference(runs[variant], runs[reference]),
            )
            for variant in order
        ),
    )


def _by_task(section: Section, variant: str) -> dict[str, dict[int, float]]:
    results = {task: section.results.get((variant, task)) for task in section.tasks}
    return {task: row.scores for task, row in results.items() if row is not None and row.n}
