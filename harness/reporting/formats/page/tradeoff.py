"""Score against cost for the page: for each pair of them, which variants are on the front."""

import math
from typing import Any

from harness.reporting.costs import COSTS
from harness.reporting.section import Section
from harness.reporting.statistics.pareto import pareto
from harness.text import plain, some


def tradeoff(part: Section) -> dict[str, Any]:
    """`scores`: [column, title, {cost: places of the variants on the front, cheapest first}];
    `costs`: [name, title, ticks], these being [value, text, fineness from 0 to 3]; only those that
    any variant has.

    A column is "mean", "mean_of_groups", "group,N" or "task,N".
    """
    costs = {
        name: of
        for name in COSTS
        if any((of := {v: summary.costs[name] for v, summary in part.methods.items()}).values())
    }
    order = {variant: place for place, variant in enumerate(part.scores)}
    choices = []
    for column, title, scores in _scores(part):
        fronts = {}
        for name, of in costs.items():
            points = {
                variant: (cost, score)
                for variant, cost in of.items()
                if cost is not None and (score := scores.get(variant)) is not None
            }
            fronts[name] = [order[variant] for variant in pareto(points)]
        choices.append([column, plain(title), fronts])
    return {
        "scores": choices,
        "costs": [
            [name, COSTS[name].axis, _ticks(name, of.values())] for name, of in costs.items()
        ],
    }


def _scores(part: Section) -> list[tuple[str, str, dict[str, float | None]]]:
    methods = part.methods.items()
    columns = [
        (
            "mean",
            f"mean of {some(len(part.tasks), 'task')}",
            {variant: summary.mean for variant, summary in methods},
        )
    ]
    if len(part.groups) > 1:
        title = f"mean of {len(part.groups)} groups"
        means = {variant: summary.mean_of_groups for variant, summary in methods}
        columns.append(("mean_of_groups", title, means))
        for place, group in enumerate(part.groups):
            of_group = {variant: summary.group_means[group] for variant, summary in methods}
            columns.append((f"group,{place}", f"mean of {group}", of_group))
    for place, task in enumerate(part.tasks):
        of_task = {variant: scores.get(task) for variant, scores in part.scores.items()}
        columns.append((f"task,{place}", task, of_task))
    return columns


_STEPS = (1, 2, 5, 1.5, 3, 7)
"""Of a decade: the first is a power of ten, then two finer kinds."""


def _ticks(name: str, values: Any) -> list[list[Any]]:
    """Round numbers over all values of a cost and a decade beyond, of fineness 0 to 2, and evenly
    spaced ones between the smallest and the largest, of fineness 3: where the values are close, no
    power of ten is among them."""
    some = [value for value in values if value and value > 0]
    if not some:
        return []
    powers = range(math.floor(math.log10(min(some))) - 1, math.ceil(math.log10(max(some))) + 2)
    decades = [
        [digit * 10.0**power, COSTS[name].text(digit * 10.0**power), min(2, (place + 1) // 2)]
        for power in powers
        for place, digit in enumerate(_STEPS)
    ]
    return sorted(decades) + _even(name, min(some), max(some))


def _even(name: str, low: float, high: float) -> list[list[Any]]:
    """Some five evenly spaced round numbers, and one on each side; those whose texts differ."""
    raw = max((high - low) / 4, low * 0.004)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= raw)
    first, last = math.floor(low / step), math.ceil(high / step)
    texts: dict[str, float] = {}
    for number in range(max(first, 1), last + 1):
        texts.setdefault(COSTS[name].text(number * step), number * step)
    return [[value, text, 3] for text, value in texts.items()]
