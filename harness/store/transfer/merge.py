"""Others' rows into a store, by identity: what is new is added, what contradicts ours is told,
nothing is overwritten."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.errors import BadInput
from harness.store import Duplicate, Store
from harness.store.records import Cell, Result, Trial
from harness.store.transfer.exchange import Rows
from harness.text import plain, some


@dataclass(frozen=True)
class Conflict:
    """One (cell, seed) that two stores have another score or other logits of."""

    cell: Cell
    ours: Result
    theirs: Result

    def __str__(self) -> str:
        name = (
            f"{self.cell.labels['variant']} on {self.cell.identity['task']['name']}, seed"
            f" {self.ours.seed}"
        )
        return plain(
            f"conflict, ours stays: {name} ({self.ours.id}): here {_measured(self.ours)}; there"
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
    """Results that were there already, with the same score and logits."""
    conflicts: list[Conflict] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    """A line for each cell whose trials differ from ours, which stay."""
    present: list[Result] = field(default_factory=list)
    """Of the source's results, those that the store now has: what its checkpoints may be copied
    of."""

    def __str__(self) -> str:
        counts = {
            "result": self.results,
            "trial": self.trials,
            "cell": self.cells,
            "failure": self.failures,
        }
        new = ", ".join(some(count, name) for name, count in counts.items() if count)
        return (
            f"{f'added {new}' if new else 'nothing new'}; {some(self.same, 'result')} there already"
        )


def merge(store: Store, theirs: Rows) -> Merged:
    """Adds `theirs`, checked already, to `store`, in one transaction; where nothing is new, nothing
    is written.

    Results: by (cell, seed). Trials: those of cells that have none here, since a search is one
    whole. Failures: where there is no result. Cells that are here keep their labels. Raises
    `BadInput` where another process writes the same rows again and again.
    """
    for _ in range(3):
        try:
            return _merge(store, theirs)
        except Duplicate:  # a run has stored one of these rows after they were compared
            continue
    raise BadInput(
        f"{store.name} is being filled with the same rows by another process: import again when it"
        " is done."
    )


def _merge(store: Store, theirs: Rows) -> Merged:
    mine, here = store.cells(), {(row.cell, row.seed): row for row in store.results()}
    cells = {cell.key: cell for cell in theirs.cells}
    found = Merged()
    results = []
    for row in theirs.results:
        ours = here.get((row.cell, row.seed))
        if ours is None:
            results.append(row)
        elif (ours.score, ours.logits_sha256) == (row.score, row.logits_sha256):
            found.same += 1
        else:
            found.conflicts.append(Conflict(mine[row.cell], ours, row))
            continue
        found.present.append(row)
    failed, done = (
        {(row.cell, row.seed) for row in store.failures()},
        here.keys() | {(row.cell, row.seed) for row in results},
    )
    failures = [row for row in theirs.failures if (row.cell, row.seed) not in done | failed]
    counts = store.trial_counts()
    trials = [row for row in theirs.trials if row.cell not in counts]
    found.searches = list(
        _other_searches(store, [row for row in theirs.trials if row.cell in counts], mine)
    )
    new = [cell for key, cell in cells.items() if key not in mine]
    found.cells, found.trials, found.results, found.failures = (
        len(new),
        len(trials),
        len(results),
        len(failures),
    )
    if new or trials or results or failures:
        store.add(new, trials, results, failures)
    return found


def _other_searches(store: Store, theirs: list[Trial], cells: dict[str, Cell]) -> Iterator[str]:
    there = _points(theirs)
    here = _points(store.trials()) if there else {}
    for key, points in there.items():
        if points != here[key]:
            name = f"{cells[key].labels['variant']} on {cells[key].identity['task']['name']}"
            yield plain(
                f"{name}: their search differs ({some(len(points), 'trial')} there,"
                f" {len(here[key])} here): ours stays"
            )


def _points(trials: list[Trial]) -> dict[str, dict[int, tuple]]:
    """What searches found, without what it took: {cell: {number: point}}."""
    found: dict[str, dict[int, tuple]] = {}
    for row in trials:
        found.setdefault(row.cell, {})[row.number] = (row.params, row.state, row.value)
    return found


def _measured(result: Result) -> str:
    """Score, logits and what they were made with; provenance may be of any form."""
    made = result.provenance
    facts = [str(made[name]) for name in ("device", "processor") if isinstance(made.get(name), str)]
    if isinstance(made.get("versions"), dict) and "torch" in made["versions"]:
        facts.append(f"torch {made['versions']['torch']}")
    return (
        f"{result.score:.2f}, logits {result.logits_sha256[:12]}"
        f" ({', '.join([*facts, result.created[:10]])})"
    )
