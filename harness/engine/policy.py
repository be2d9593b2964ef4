"""The order of work: which of the cells with a job ready provides the next one, and how many trials
of a search run at once.

Tasks are ordered by their longest chain (a trial, then a final run), the longest first, so that
long ones don't come last; final runs precede trials. A search runs few trials at once, since TPE
and the pruner learn from finished ones; and more if its chain would outlast the remaining work, or
a device would idle. Before all that comes the shortest cell as a whole, so that there is a score
soon, or what stands in its way is known; and then one trial of each method on its shortest task, so
that its speed is known for these decisions. `benchmarks/scale.py` compares this order with others.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from harness.engine.cell import CellState
from harness.engine.jobs import EAGER, FINAL, TRIAL

SLACK = 0.6
"""A search's chain is limited to this share of the remaining time: a trial may die at its end and
be run again."""


@dataclass
class Tally:
    """Work of a cell, a method, or all."""

    left: float = 0.0
    """Forward-image units that are expected to remain."""
    seconds: float = 0.0
    units: float = 0.0
    """What took those seconds, in forward-image units."""

    def replace(self, old: "Tally", new: "Tally") -> None:
        """Updates the total when one of its parts changes."""
        self.left += new.left - old.left
        self.seconds += new.seconds - old.seconds
        self.units += new.units - old.units

    @property
    def seconds_left(self) -> float:
        """At its own speed; 0 if that is unknown."""
        return self.left * self.seconds / self.units if self.units else 0.0


class Policy:
    """Cells with a job ready, each in one of three queues, by rank. Finding, adding and removing
    one costs O(log cells)."""

    def __init__(self, cells: Sequence[CellState], devices: int = 1):
        self.devices = devices
        self.cells = self.arranged(cells)
        self.rank = {cell.planned.key: rank for rank, cell in enumerate(self.cells)}
        shortest: dict[str, CellState] = {}
        for cell in sorted(cells, key=lambda cell: cell.trial_units):
            shortest.setdefault(cell.planned.variant.label, cell)
        unfinished = (cell for cell in cells if cell.left)
        self.opener = min(unfinished, key=lambda cell: cell.left, default=None)
        self.probes = list(reversed(shortest.values())) if self.learns(cells) else []
        self.gives: list[int | None] = [None] * len(cells)
        self.queues: tuple[list[int], ...] = ([], [], [])
        self.queued: tuple[set[int], ...] = (set(), set(), set())
        self.tallies = [Tally() for _ in cells]
        self.methods: dict[str, Tally] = defaultdict(Tally)
        self.all = Tally()
        self.seconds_left = self.left_at_no_pace = 0.0
        """Seconds for methods whose speed is known; and units of the others."""
        for cell in self.cells:
            self._count(cell)
        for cell in self.cells:
            self.update(cell)

    @property
    def left(self) -> float:
        """Forward-image units that are expected to remain in all cells."""
        return self.all.left

    @property
    def seconds_of_work(self) -> float | None:
        """What remains takes one device, each method at its own speed in this run, others at that
        of all; None before a job has ended. An upper bound where searches are pruned."""
        if not self.all.units:
            return None
        return self.seconds_left + self.left_at_no_pace * (self.all.seconds / self.all.units)

    def learns(self, cells: Sequence[CellState]) -> bool:
        """Whether speeds are ever needed."""
        return any(
            cell.planned.protocol.sampler == "tpe" and not cell.planned.constant_features
            for cell in cells
        )

    def arranged(self, cells: Sequence[CellState]) -> list[CellState]:
        """By rank."""
        chain: dict[str, float] = {}
        for cell in cells:
            name = cell.planned.card.name
            chain[name] = max(chain.get(name, 0.0), cell.trial_units + cell.final_units)
        first = {name: i for i, name in enumerate(chain)}
        return sorted(
            cells, key=lambda cell: (-chain[cell.planned.card.name], first[cell.planned.card.name])
        )

    def first(self) -> CellState | None:
        """The cell with the next job."""
        if self.opener is not None:
            if self.gives[self.rank[self.opener.planned.key]] in (FINAL, TRIAL):
                return self.opener
            if not self.opener.left:
                self.opener = None
        while self.probes:
            cell = self.probes[-1]
            if (
                self.methods[cell.planned.variant.label].units == 0
                and not cell.open
                and self.gives[self.rank[cell.planned.key]] is not None
            ):
                return cell
            self.probes.pop()
        for kind in (FINAL, TRIAL, EAGER):
            queue, queued = self.queues[kind], self.queued[kind]
            while queue and self.gives[queue[0]] != kind:
                queued.discard(heapq.heappop(queue))
            if queue:
                return self.cells[queue[0]]
        return None

    def update(self, cell: CellState) -> None:
        """A cell has changed."""
        rank = self._count(cell)
        kind = self.gives[rank] = cell.gives(self.few(cell))
        if kind is not None and rank not in self.queued[kind]:
            self.queued[kind].add(rank)
            heapq.heappush(self.queues[kind], rank)

    def few(self, cell: CellState) -> int:
        """How many trials of a search may run at once by default."""
        trials = cell.planned.trials
        if cell.planned.protocol.sampler != "tpe" or not cell.trial_units:
            return trials
        pace = self.all.seconds / self.all.units if self.all.units else 1.0
        seconds = (self.seconds_of_work or self.left) / self.devices
        method = self.methods[cell.planned.variant.label]
        units = SLACK * seconds / (method.seconds / method.units if method.units else pace)
        waves = int((units - cell.final_units) / cell.trial_units)
        return max(
            1, trials // 5, math.ceil((trials - cell.done_trials) / waves) if waves > 0 else trials
        )

    def _count(self, cell: CellState) -> int:
        rank = self.rank[cell.planned.key]
        method, old, new = (
            self.methods[cell.planned.variant.label],
            self.tallies[rank],
            Tally(cell.left, cell.seconds, cell.units),
        )
        self.seconds_left -= method.seconds_left
        self.left_at_no_pace -= 0.0 if method.units else method.left
        for total in (self.all, method):
            total.replace(old, new)
        self.seconds_left += method.seconds_left
        self.left_at_no_pace += 0.0 if method.units else method.left
        self.tallies[rank] = new
        return rank
