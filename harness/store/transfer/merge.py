"""Merges others' rows into a store, by identity: new ones are added, contradictions are reported,
nothing is overwritten."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.errors import BadInput
from harness.store import Duplicate, Store
from harness.store.records import Cell, Result, Trial
from harness.store.transfer.exchange import StoreRows
from harness.text import plain, some


@dataclass(frozen=True)
class Conflict:
    """One (cell, seed) for which two stores have different scores or logits."""

    cell: Cell
    ours: Result
    theirs: Result

    def __str__(self) -> str:
        name = (
            f"{self.cell.labels['variant']} on {self.cell.identity['task']['name']}, seed"
            f" {self.ours.seed}"
        )
        return plain(
            f"conflict, ours is kept: {name} ({self.ours.id}): here {_measured(self.ours)}; there"
            f" {_measured(self.theirs)}"
        )


@dataclass
class Merged:
    """What an import did."""

    cells: int = 0
    trials: int = 0
    results: int = 0
    failures: int = 0
    """How many rows were added."""
    same: int = 0
    """Results that already existed, with the same score and logits."""
    conflicts: list[Conflict] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    """A line for each cell whose trials differ from ours, which are kept."""
    present: list[Result] = field(default_factory=list)
    """The source's results that the store now has, whose checkpoints may be copied."""

    def __str__(self) -> str:
        counts = {
            "result": self.results,
            "trial": self.trials,
            "cell": self.cells,
            "failure": self.failures,
        }
        new = ", ".join(some(count, name) for name, count in counts.items() if count)
        return (
            f"{f'added {new}' if new else 'nothing new'}; {some(self.same, 'result')} already there"
        )


def merge(store: Store, theirs: StoreRows) -> Merged:
    """Adds `theirs`, already validated, to `store`, in one transaction; if nothing is new, nothing
    is written.

    Results: by (cell, seed). Trials: those of cells that have none here, since a search is a unit.
    Failures: if there is no result. Existing cells keep their labels. Raises `BadInput` if another
    process keeps writing the same rows.
    """
    for _ in range(3):
        try:
            return _merge(store, theirs)
        except Duplicate:  # a run has stored one of these rows after they were compared
            continue
    raise BadInput(
        f"{store.name} is being filled with the same rows by another process: import again when it"
        " has finished."
    )


def _merge(store: Store, theirs: StoreRows) -> Merged:
    our_cells, our_results = store.cells(), {(row.cell, row.seed): row for row in store.results()}
    cells = {cell.key: cell for cell in theirs.cells}
    merged = Merged()
    results = []
    for row in theirs.results:
        ours = our_results.get((row.cell, row.seed))
        if ours is None:
            results.append(row)
        elif (ours.score, ours.logits_sha256) == (row.score, row.logits_sha256):
            merged.same += 1
        else:
            merged.conflicts.append(Conflict(our_cells[row.cell], ours, row))
            continue
        merged.present.append(row)
    failed, done = (
        {(row.cell, row.seed) for row in store.failures()},
        our_results.keys() | {(row.cell, row.seed) for row in results},
    )
    failures = [row for row in theirs.failures if (row.cell, row.seed) not in done | failed]
    counts = store.trial_counts()
    trials = [row for row in theirs.trials if row.cell not in counts]
    merged.searches = list(
        _other_searches(store, [row for row in theirs.trials if row.cell in counts], our_cells)
    )
    new = [cell for key, cell in cells.items() if key not in our_cells]
    merged.cells, merged.trials, merged.results, merged.failures = (
        len(new),
        len(trials),
        len(results),
        len(failures),
    )
    if new or trials or results or failures:
        store.add(new, trials, results, failures)
    return merged


def _other_searches(store: Store, theirs: list[Trial], cells: dict[str, Cell]) -> Iterator[str]:
    their_points = _points(theirs)
    our_points = _points(store.trials()) if their_points else {}
    for key, points in their_points.items():
        if points != our_points[key]:
            name = f"{cells[key].labels['variant']} on {cells[key].identity['task']['name']}"
            yield plain(
                f"{name}: their search differs ({some(len(points), 'trial')} there,"
                f" {len(our_points[key])} here): ours is kept"
            )


def _points(trials: list[Trial]) -> dict[str, dict[int, tuple]]:
    """The outcomes of searches, without their cost: {cell: {number: point}}."""
    points: dict[str, dict[int, tuple]] = {}
    for row in trials:
        points.setdefault(row.cell, {})[row.number] = (row.params, row.state, row.value)
    return points


def _measured(result: Result) -> str:
    """Score, logits and how they were computed; provenance may have any form."""
    provenance = result.provenance
    facts = [
        str(provenance[name])
        for name in ("device", "processor")
        if isinstance(provenance.get(name), str)
    ]
    if isinstance(provenance.get("versions"), dict) and "torch" in provenance["versions"]:
        facts.append(f"torch {provenance['versions']['torch']}")
    return (
        f"{result.score:.2f}, logits {result.logits_sha256[:12]}"
        f" ({', '.join([*facts, result.created[:10]])})"
    )
