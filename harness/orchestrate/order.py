"""The order of work: which of the cells that have a job to give gives the next one, and how many trials of a search run at once.

What is chosen here, and against what, is measured by `benchmarks/scale.py`.
"""

import heapq
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.orchestrate.cell import CellLedger

FINAL, TRIAL, EAGER = range(3)
"""What a cell can give: a final run; a trial; a trial that its search, which learns from those that ended, would rather wait with."""


class Order:
    """Cells that have a job to give, each in one of three queues, by rank. Finding, adding and taking one costs O(log cells)."""

    def __init__(self, cells: Sequence["CellLedger"], devices: int = 1):
        self.devices = devices
        self.cells = self.arranged(cells)
        self.rank = {cell.planned.key: rank for rank, cell in enumerate(self.cells)}
        self.gives: list[int | None] = [None] * len(cells)
        self.queues: tuple[list[int], ...] = ([], [], [])
        self.queued: tuple[set[int], ...] = (set(), set(), set())
        self.tallies = [(0.0, 0.0, 0.0)] * len(cells)
        self.left = self.seconds = self.units = 0.0
        for cell in self.cells:
            self._count(cell)
        for cell in self.cells:
            self.update(cell)

    def arranged(self, cells: Sequence["CellLedger"]) -> list["CellLedger"]:
        chain: dict[str, float] = {}
        for cell in cells:
            name = cell.planned.card.name
            chain[name] = max(chain.get(name, 0.0), cell.trial_units + cell.final_units)
        first = {name: i for i, name in enumerate(chain)}
        return sorted(cells, key=lambda cell: (-chain[cell.planned.card.name], first[cell.planned.card.name]))

    def first(self) -> "CellLedger | None":
        for kind in (FINAL, TRIAL, EAGER):
            queue, queued = self.queues[kind], self.queued[kind]
            while queue and self.gives[queue[0]] != kind:
                queued.discard(heapq.heappop(queue))
            if queue:
                return self.cells[queue[0]]
        return None

    def update(self, cell: "CellLedger") -> None:
        rank = self._count(cell)
        kind = self.gives[rank] = cell.gives(self.few(cell))
        if kind is not None and rank not in self.queued[kind]:
            self.queued[kind].add(rank)
            heapq.heappush(self.queues[kind], rank)

    def _count(self, cell: "CellLedger") -> int:
        rank = self.rank[cell.planned.key]
        before, now = self.tallies[rank], (cell.left, cell.seconds, cell.units)
        self.left, self.seconds, self.units = (
            total + new - old for total, new, old in zip((self.left, self.seconds, self.units), now, before, strict=True)
        )
        self.tallies[rank] = now
        return rank

    def few(self, cell: "CellLedger") -> int:
        trials = cell.planned.trials
        if cell.planned.protocol.sampler != "tpe" or not cell.trial_units:
            return trials
        slow = (cell.seconds / cell.units) / (self.seconds / self.units) if cell.units else 1.0
        waves = int((self.left / self.devices / slow - cell.final_units) / cell.trial_units)
        return max(1, trials // 5, math.ceil((trials - cell.done_trials) / waves) if waves > 0 else trials)
