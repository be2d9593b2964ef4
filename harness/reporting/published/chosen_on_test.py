"""What it is worth to report the best epoch on test instead of the last one. Many papers do the
first; OSU-MLB/ViT_PEFT_Vision kept both numbers of each of its runs, so the part of a published gap
that this explains can be told for its methods. All is computed from the shipped table."""

import csv
from collections.abc import Collection, Iterable
from functools import cache

import numpy as np

from harness.io.resources import osu_csv
from harness.reporting.published.numbers import PublishedRow, means, named_here
from harness.reporting.published.setups import setup_of_source
from harness.reporting.section import Section
from harness.text import plain

BEST = "best on test"
"""As a recipe's `reported` says it."""


@cache
def gains() -> dict[str, dict[str, float]]:
    """Best on test minus last epoch, in points, by method as it is named here, and task."""
    found: dict[str, dict[str, float]] = {}
    with osu_csv().open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            gained = float(line["best_on_test"]) - float(line["last_epoch"])
            found.setdefault(line["method"], {})[line["task"]] = gained
    return found


def worth(method: str, tasks: Collection[str]) -> float | None:
    """The mean over these tasks; None if one of them, or the method, wasn't measured so."""
    known = gains().get(method, {})
    if not tasks or not set(tasks) <= known.keys():
        return None
    return float(np.mean([known[task] for task in tasks]))


def chosen_on_test(section: Section, rows: Iterable[PublishedRow]) -> list[str]:
    """Sentences on the published rows next to a section, if the epoch of any was chosen on test:
    what that is worth, then how much of the distance from each such row to ours."""
    rows = [row for row in rows if any(_chosen_so(row, name) for name in row.sources)]
    shared = [task for task in section.tasks if worth("linear", (task,)) is not None]
    if not shared or not rows:
        return []
    of_methods = sorted(
        (value, method) for method in gains() if (value := worth(method, shared)) is not None
    )
    (least, first), *_, (most, last) = of_methods
    half = float(np.median([value for value, _ in of_methods]))
    tasks = f"mean of {len(shared)} {'task' if len(shared) == 1 else 'tasks'} here"
    lines = [
        "Reporting the best epoch on test instead of the last one is worth"
        f" {least:.2f} points ({first}) to {most:.2f} ({last}), {half:.2f} at the median of"
        f" {len(of_methods)} methods, in runs whose authors kept both"
        f" (OSU-MLB/ViT_PEFT_Vision, on ViT-B/16 of ImageNet-21k; {tasks})"
    ]
    shares = [_share(section, row) for row in rows]
    return [f"{line}." for line in (*lines, *shares) if line is not None]


def _share(section: Section, row: PublishedRow) -> str | None:
    """Of one row whose epoch was chosen on test, beside our rows of the same method."""
    method = named_here(row.method)
    ours: dict[str, list[float]] = {}
    for result in section.board:
        if result.cell.method == method and result.mean is not None:
            ours.setdefault(result.task, []).append(result.mean)
    tasks = [
        task
        for task in section.tasks
        if task in ours and task in row.numbers and _chosen_so(row, task)
    ]
    gained = worth(method, tasks)
    if gained is None:
        return None
    # several variants of a method: the best of them, as a paper would show
    gap = float(np.mean([row.numbers[task] - max(ours[task]) for task in tasks]))
    name, of = plain(row.method), f"on {len(tasks)} {'task' if len(tasks) == 1 else 'tasks'}"
    if gap <= 0:
        return (
            f"{name} is {-gap:.2f} points below {method} here {of}, though its epoch was chosen on"
            f" test, which is worth {gained:.2f} there"
        )
    share = min(100.0, 100 * gained / gap)
    return (
        f"{name} is {gap:.2f} points above {method} here {of}: {gained:.2f} of them ({share:.0f} %)"
        " is what choosing the epoch on test is worth for this method"
    )


def _chosen_so(row: PublishedRow, name: str) -> bool:
    """Whether the epoch of a number, or of any task of a mean, was chosen on test."""
    recipe = setup_of_source(row.sources[name])
    return recipe is not None and any(
        recipe.at(row.method, task, row.backbone, row.pretrain).reported == BEST
        for task in means().get(name, (name,))
    )
