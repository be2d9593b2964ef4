"""Submissions of made-up rows that a check finds nothing wrong with: counts of the mini suite's
images, and what val chose. And ways to forge them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from made_up import cell, result, trial

from harness.reporting.submissions import about, folder
from harness.reporting.submissions.check import Checked
from harness.reporting.submissions.make import make
from harness.store import Cell, Result, Store, cell_key
from harness.store.transfer import exchange, reproduced
from harness.store.transfer.exchange import StoreRows
from harness.store.transfer.reproduced import Record
from harness.tasks.cards import load_cards

CARDS = load_cards()


def sound(variant: str = "vpt", task: str = "digits", **labels: Any) -> Cell:
    """A cell of a task that there is."""
    made, card = cell(variant, task, **labels), CARDS[task]
    identity = {**made.identity, "task": {**made.identity["task"], "card": card.digest()}}
    return Cell(cell_key(identity), identity, {**made.labels, "group": card.group})


def filled(
    path: Path, cells: Sequence[Cell], seeds: Sequence[int] = (0, 1), right: int = 250
) -> Store:
    """`right` of each task's test images, one more for each seed; the first of two trials is the
    better one."""
    store = Store(path)
    for one in cells:
        sizes = CARDS[one.identity["task"]["name"]].sizes
        trials = [
            trial(one, number, 100 * hits / sizes["val"], curve={})
            for number, hits in enumerate((60, 50))
        ]
        results = []
        for place, seed in enumerate(seeds):
            score = 100 * (right + place) / sizes["test"]
            logits = hashlib.sha256(f"{one.key} {seed} {right}".encode()).hexdigest()
            results.append(
                result(
                    one,
                    seed,
                    score,
                    params=trials[0].params,
                    logits_sha256=logits,
                    curve={10: score},
                    extras={},
                    seconds=2.5 + right / 1000,
                )
            )
        store.add([one], trials, results)
    return store


def sent(
    into: Path, name: str, store: Store, who: str = "Ada Example", **more: Any
) -> tuple[Path, Checked]:
    """A submission of a store, in the folder `into`."""
    into.mkdir(parents=True, exist_ok=True)
    contact = f"{who.split()[0].lower()}@example.org"
    outcome = make(store, into / name, who=who, contact=contact, **more)
    return into / name, outcome


def record_of(row: Result, file: Path, **more: Any) -> Path:
    """The file of a reproduction with equal logits, or what `more` says."""
    values = {
        "id": row.id,
        "cell": row.cell,
        "seed": row.seed,
        "score": row.score,
        "logits_sha256": row.logits_sha256,
        "device": "cpu",
        "again_score": row.score,
        "again_logits_sha256": row.logits_sha256,
        "again_device": "cpu",
        "created": "2026-02-01T10:00:00+00:00",
    }
    reproduced.write(Record.model_validate({**values, **more}), file)
    return file


def forged(submission: Path, change: Callable[[StoreRows], StoreRows]) -> None:
    """Changes a submission's rows, and seals it anew, as somebody would who knows how."""
    rows = exchange.read(submission / folder.ROWS)
    exchange.write(change(rows), submission / folder.ROWS)
    seal(submission)


def first(rows: StoreRows, **changes: Any) -> StoreRows:
    """The rows with the first result changed."""
    return replace(rows, results=[replace(rows.results[0], **changes), *rows.results[1:]])


def seal(submission: Path) -> None:
    """Writes the true hashes of a submission's files."""
    values = about.read(submission / folder.ABOUT).model_dump()
    values["files"] = {name: folder.digest(submission / name) for name in folder.files(submission)}
    text = about.text_of(about.About(**values))
    (submission / folder.ABOUT).write_text(text, encoding="utf-8")
