"""A submission beside those that are known: rows that were changed or copied, contradictions, and
scores that are out of line. Only the first two are faults."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from harness.reporting.submissions import papers
from harness.reporting.submissions.folder import Submission
from harness.reporting.submissions.scores import card_of
from harness.store.records import Cell, Result
from harness.tasks.kinds import TOP1

FAR = 5.0
"""Percentage points from what is known that are worth a look."""
ERRORS = 5.0
"""Standard errors between seeds of one cell that are worth a look."""

Place = tuple[str, ...]


@dataclass
class Known:
    """What the submissions of a board hold."""

    submissions: list[Submission] = field(default_factory=list)
    results: dict[str, list[tuple[Submission, Result]]] = field(default_factory=dict)
    """By id."""
    scores: dict[str, list[float]] = field(default_factory=dict)
    """By cell."""
    best: dict[Place, float] = field(default_factory=dict)
    """Mean of the best cell, by task, data, pixels, backbone and metric."""
    data: dict[Place, str] = field(default_factory=dict)
    """The data's fingerprint, by task and pixels."""
    weights: dict[str, str] = field(default_factory=dict)
    """Their sha256, by backbone."""

    def add(self, submission: Submission) -> None:
        self.submissions.append(submission)
        for row in submission.rows.results:
            self.results.setdefault(row.id, []).append((submission, row))
            self.scores.setdefault(row.cell, []).append(row.score)
        for key in submission.cells:
            cell = submission.cells[key]
            if key in self.scores:
                place = _place(cell)
                self.best[place] = max(self.best.get(place, 0.0), fmean(self.scores[key]))
            self.data.setdefault(_data(cell), cell.identity["task"]["data"])
            backbone = cell.identity["backbone"]
            self.weights.setdefault(backbone["name"], backbone["sha256"])


def _place(cell: Cell) -> Place:
    task, backbone = cell.identity["task"], cell.identity["backbone"]
    return (task["name"], task["data"], backbone["sha256"], cell.labels["metric"])


def _data(cell: Cell) -> Place:
    task: dict[str, Any] = cell.identity["task"]
    return (task["name"], task["pixels"])


def changed(submission: Submission, known: Known) -> Iterator[str]:
    """Rows that the board has under the same submission's name, and that are others now."""
    for earlier in known.submissions:
        if earlier.name != submission.name:
            continue
        for id, row in earlier.results.items():
            now = submission.results.get(id)
            if now is None:
                yield f"{earlier.label(row)} was accepted, and is gone"
            elif now.logits_sha256 != row.logits_sha256:
                yield (
                    f"{submission.label(now)}: its logits hash was {row.logits_sha256[:12]} when it"
                    f" was accepted, and is {now.logits_sha256[:12]} now"
                )
            elif now.score != row.score:
                yield (
                    f"{submission.label(now)}: its score was {row.score:.6g} when it was accepted,"
                    f" and is {now.score:.6g} now"
                )


def copied(submission: Submission, known: Known) -> Iterator[str]:
    """Rows of a run that somebody else has sent: made in the same second, and as fast."""
    for row in submission.rows.results:
        for other, theirs in known.results.get(row.id, ()):
            same = (row.created, row.seconds) == (theirs.created, theirs.seconds)
            if same and not other.about.person & submission.about.person:
                yield f"{submission.label(row)} is the run that {other.name} has sent"


def notes(submission: Submission, known: Known) -> Iterator[str]:
    """Contradictions and outliers, a line each."""
    others = [one for one in known.submissions if one.name != submission.name]
    if others:
        yield from _contradictions(submission, known)
        yield from _other_inputs(submission, known)
    of_cells: dict[str, list[float]] = {}
    for row in submission.rows.results:
        of_cells.setdefault(row.cell, []).append(row.score)
    for key, scores in of_cells.items():
        cell = submission.cells[key]
        what = f"{cell.labels['variant']} on {cell.identity['task']['name']}"
        if others:
            yield from (f"{what}: {line}" for line in _out_of_line(cell, scores, known))
        yield from (f"{what}: {line}" for line in _beside_papers(cell, fmean(scores)))


def _contradictions(submission: Submission, known: Known) -> Iterator[str]:
    for row in submission.rows.results:
        for other, theirs in known.results.get(row.id, ()):
            if other.name != submission.name and row.logits_sha256 != theirs.logits_sha256:
                yield (
                    f"{submission.label(row)}: {row.score:.2f} here and {theirs.score:.2f} in"
                    f" {other.name}, with other logits: `harness reproduce ID` shows which is right"
                )


def _other_inputs(submission: Submission, known: Known) -> Iterator[str]:
    """Data and weights that are others than the board's of the same name, each once."""
    found = dict[str, None]()
    for cell in submission.rows.cells:
        task, backbone = cell.identity["task"], cell.identity["backbone"]
        if known.data.get(_data(cell), task["data"]) != task["data"]:
            found[f"other data of {task['name']} than the board's: {task['data'][:12]}"] = None
        if known.weights.get(backbone["name"], backbone["sha256"]) != backbone["sha256"]:
            what = f"{backbone['name']} than the board's: {backbone['sha256'][:12]}"
            found[f"other weights of {what}"] = None
    yield from found


def _out_of_line(cell: Cell, scores: Sequence[float], known: Known) -> Iterator[str]:
    before, mean = known.scores.get(cell.key), fmean(scores)
    if before:
        apart = abs(mean - fmean(before))
        error = _error(cell, before) * math.sqrt(1 / len(before) + 1 / len(scores))
        if apart > ERRORS * error:
            yield f"{mean:.2f}, but {fmean(before):.2f} with the seeds that are known"
    best = known.best.get(_place(cell))
    if best is not None and mean > best + FAR:
        yield f"{mean:.2f}, and the best that is known there is {best:.2f}"


def _error(cell: Cell, scores: Sequence[float]) -> float:
    """Standard deviation of one seed's score: between seeds, and at least that of counting the test
    images."""
    card, mean = card_of(cell), fmean(scores)
    counted = 0.5
    if card is not None and cell.labels["metric"] == TOP1.name:
        counted = math.sqrt(max(mean * (100 - mean), 100.0) / card.sizes["test"])
    return max(counted, stdev(scores) if len(scores) > 1 else 0.0)


def _beside_papers(cell: Cell, mean: float) -> Iterator[str]:
    """Of a method without brackets: that is what papers print."""
    identity = cell.identity
    printed = papers.printed(
        cell.labels["variant"],
        identity["task"]["name"],
        identity["backbone"]["name"],
        cell.labels["metric"],
    )
    if printed and not min(printed) - FAR <= mean <= max(printed) + FAR:
        low, high = min(printed), max(printed)
        shown = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        yield f"{mean:.2f}, and papers print {shown}"
