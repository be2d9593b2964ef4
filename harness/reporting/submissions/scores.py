"""Whether scores follow from what they are counted from: top-1 is a count of a split's images, and
mIoU the mean of the classes' overlaps.

A forged score rarely does. One that does isn't proven by it: only `harness reproduce` can tell.
"""

import math
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any, get_args

from harness.reporting.submissions.folder import Submission
from harness.store.records import SAME_SCORE, Cell, Result
from harness.tasks.cards import TaskCard, load_cards
from harness.tasks.kinds import MIOU, TOP1

TRAIN_ON: tuple[str, ...] = get_args(TaskCard.model_fields["train_on"].annotation)
"""What final runs may train on."""


def card_of(cell: Cell) -> TaskCard | None:
    """The shipped card of a cell's task; None for a task that somebody else has made."""
    task: Mapping[str, Any] = cell.identity["task"]
    card = load_cards().get(task["name"])
    return card if card is not None and task.get("card") in _digests(card.name) else None


def namesake(cell: Cell) -> bool:
    """Whether a cell's task is called like a shipped one, and isn't that: of other sizes, classes
    or metric."""
    return cell.identity["task"]["name"] in load_cards() and card_of(cell) is None


@cache
def _digests(name: str) -> frozenset[str]:
    """Of a card under every pixel setting and training set that a run may ask for."""
    card = load_cards()[name]
    variants = product(card.task_kind.pixels, TRAIN_ON)
    return frozenset(
        card.model_copy(update={"pixels": pixels, "train_on": train_on}).digest()
        for pixels, train_on in variants
    )


def is_share(percent: float, of: int) -> bool:
    """Whether it is the percentage of a whole number out of `of`."""
    return abs(percent - 100 * round(percent * of / 100) / of) <= SAME_SCORE


def faults(submission: Submission) -> Iterator[str]:
    """A line for each result whose score can't have been counted."""
    for result in submission.rows.results:
        cell = submission.cells[result.cell]
        if problem := _problem(result, cell, card_of(cell)):
            yield f"{submission.label(result)}: {problem}"


def _problem(result: Result, cell: Cell, card: TaskCard | None) -> str | None:
    shown = f"its score {result.score:.6g}"
    metric = cell.labels["metric"]
    if metric == TOP1.name and card and not is_share(result.score, card.sizes["test"]):
        return f"{shown} isn't a count of the {card.sizes['test']:,} test images"
    if metric == MIOU.name and "class_iou" in result.extras:
        overlaps = result.extras["class_iou"]
        if not isinstance(overlaps, list) or not all(
            one is None or type(one) in (int, float) for one in overlaps
        ):
            return "its class_iou isn't a list of numbers"
        known = [one for one in overlaps if one is not None]
        mean = math.fsum(known) / len(known) if known else 0.0
        if abs(mean - result.score) > SAME_SCORE:
            return f"{shown} isn't the mean of its classes' overlaps, {mean:.6g}"
    return None
