"""Score against cost for the page: for each pair of them, which variants are on the front."""

import math
from typing import Any

from harness.reporting.costs import COSTS
from harness.reporting.section import Section
from harness.reporting.statistics.pareto import pareto
from harness.text import plain


def tradeoff(part: Section) -> dict[str, Any]:
    """`scores`: [column, title, {cost: places of the variants on the front, cheapest first}];
    `costs`: [name, title, ticks], these being [value, text, whether it is a power of ten]; only
    those that any variant has.

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
            f"mean of {len(part.tasks)} tasks",
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


def _ticks(name: str, values: Any) -> list[list[Any]]:
    """Round numbers over all values of a cost and a decade beyond."""
    some = [value for value in values if value and value > 0]
    if not some:
        return []
    powers = range(math.floor(math.log10(min(some))) - 1, math.ceil(math.log10(max(some))) + 2)
    return [
        [digit * 10.0**power, COSTS[name].text(digit * 10.0**power), digit == 1]
        for power in powers
        for digit in (1, 2, 3, 5, 7)
    ]
