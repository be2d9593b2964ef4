"""Whether the test split had a part in training or tuning, as far as rows can show."""

from collections.abc import Iterator, Mapping
from typing import Any

from harness.reporting.submissions.folder import Submission
from harness.reporting.submissions.scores import TRAIN_ON, card_of, is_share
from harness.store.records import Cell, Result, Trial, chosen
from harness.tasks.cards import TaskCard
from harness.tasks.kinds import TOP1


def faults(submission: Submission) -> Iterator[str]:
    """A line for each cell or result with a leak."""
    for cell in submission.rows.cells:
        card, trials = card_of(cell), submission.trials.get(cell.key, [])
        named = f"{cell.labels['variant']} on {cell.identity['task']['name']}"
        for problem in (*_of_images(cell, card), *_of_search(cell, card, trials)):
            yield f"{named}: {problem}"
    for result in submission.rows.results:
        if problem := _of_choice(result, submission.trials.get(result.cell, [])):
            yield f"{submission.label(result)}: {problem}"


def _of_images(cell: Cell, card: TaskCard | None) -> Iterator[str]:
    train_on = cell.identity["protocol"].get("train_on")
    if train_on not in (None, *TRAIN_ON):
        yield f"final runs train on {str(train_on)[:60]!r}"
    label = cell.labels.get("overlap")
    overlap: Mapping[str, Any] = label if isinstance(label, dict) else {}
    images, expected = (_count(overlap.get(name)) for name in ("images", "expected"))
    expected = expected if card is None else card.overlap
    if images > expected:
        yield (
            f"{images:,} test images are in train or val too, and its card expects"
            f" {expected or 'none'}"
        )


def _of_search(cell: Cell, card: TaskCard | None, trials: list[Trial]) -> Iterator[str]:
    """Trials are scored on val, so their scores are counts of its images."""
    if card is None or cell.labels["metric"] != TOP1.name:
        return
    val, test = card.sizes["val"], card.sizes["test"]
    for trial in trials:
        scores = [*trial.curve.values(), *([] if trial.value is None else [trial.value])]
        odd = [score for score in scores if not is_share(score, val)]
        if odd and all(is_share(score, test) for score in odd):
            yield f"trial {trial.number} was scored on test: {odd[0]:.6g} of {test:,} images"
            return
        if odd:
            yield f"trial {trial.number}: {odd[0]:.6g} isn't a count of the {val:,} val images"
            return


def _of_choice(result: Result, trials: list[Trial]) -> str | None:
    """The point of a final run is that of the trial which its search chose."""
    best = chosen(trials)
    if best is None or best.params == result.params:
        return None
    return (
        f"its hyper-parameters aren't those of trial {best.number}, which val chose; what else"
        " chose them?"
    )


def _count(value: Any) -> int:
    return value if type(value) is int and value >= 0 else 0
