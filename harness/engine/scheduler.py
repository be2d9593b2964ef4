"""The scheduler: which cells are filled, what is left, and which piece of work comes next. Plain
Python on top of the store, independent of Ray.

Whatever is finished is in the store at once, so resuming just means creating a scheduler again.

`order` decides which cell comes next. Several drivers may share a store: a cell that a scheduler
works on is leased to it (`harness.store.leases`), and the others leave it alone.
"""

import math
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress

from harness.engine.cell import CellState
from harness.engine.event_log import EventLogger
from harness.engine.events import Events
from harness.engine.jobs import Job, Outcome, TuneJob
from harness.engine.policy import Policy
from harness.errors import BadInput
from harness.planning.plan import RunPlan
from harness.store import Duplicate, LeaseLost, Store, gone, new_owner

LEASE = 60.0
"""Seconds after which the cells of an unresponsive driver are free for others."""

_LOOK = 2.0
"""Seconds between checks of what other drivers have done."""


class Scheduler:
    """What is left of a plan. `next` hands out jobs; `report`, `finish` and `lose` take their
    results.

    Creating one reads how many trials each of the plan's cells has, and the scores of its final
    runs. The trials themselves are read per cell, when its first one is requested. `renew` must be
    called every twenty seconds, from any thread; everything else from one thread. `events` receive
    what happens.
    """

    def __init__(
        self,
        plan: RunPlan,
        store: Store,
        order: type[Policy] = Policy,
        events: Events | None = None,
        deadline: float = math.inf,
    ):
        """`deadline`: the value of `time.monotonic` from which on no job is handed out."""
        self.store = store
        self.log = EventLogger(events or Events())
        self.owner = new_owner()
        self.deadline = deadline
        progress = store.progress(cell.key for cell in plan.cells)
        self.cells = [
            CellState(planned, store, self.owner, progress[planned.key]) for planned in plan.cells
        ]
        self._by_key = {cell.planned.key: cell for cell in self.cells}
        self.in_flight: dict[str, tuple[CellState, Job]] = {}
        self.mine: set[str] = set()
        """Keys of the cells that are leased to us."""
        self.elsewhere: dict[str, CellState] = {}
        """Those that another driver is working on."""
        self._taken: set[str] = set()  # cells that another driver took from us, as `renew` found
        self._dropped: set[str] = set()  # jobs of such cells: their results are discarded
        self._looked = 0.0
        self._held()
        self.unfinished = {cell.planned.key for cell in self.cells if not cell.finished}
        self.order = order(self.cells)
        self.ended: Counter[str] = Counter()
        """Trials by state, and `results`: those of the plan's cells in the store."""
        self._tallies: dict[str, Counter[str]] = {}
        for cell in self.cells:
            self._count(cell)
        self.wanted = sum(len(set(cell.planned.seeds) | cell.scores.keys()) for cell in self.cells)

    @property
    def finished(self) -> bool:
        """Nothing is under way, and nothing will be."""
        return not self.in_flight and (not self.unfinished or self.late)

    @property
    def late(self) -> bool:
        """The time is up: what is left stays undone."""
        return time.monotonic() >= self.deadline

    @property
    def gaps(self) -> int:
        """Requested results that are missing."""
        return sum(len(set(cell.planned.seeds) - cell.scores.keys()) for cell in self.cells)

    def start(self, devices: int) -> None:
        """The run has devices for this many jobs at once."""
        self.order.devices = devices
        self.log.started(
            self.store.name,
            self.owner,
            devices,
            len(self.cells),
            self.wanted,
            self.ended["results"],
        )

    def end(self) -> None:
        """The plan is completed."""
        self.log.done(self.wanted, self.ended["results"])

    def next(self, job_id: str) -> Job | None:
        """The next job, now in flight under `job_id`; None if everything left waits for jobs in
        flight, or belongs to another driver, or the time is up.

        The plan's cells must be in the store.
        """
        self._give_up_taken()
        while not self.late:
            cell = self.order.first()
            if cell is None:
                if self._look_elsewhere():
                    continue
                return None
            if cell.planned.key not in self.mine:
                self._take(cell)
                continue
            job = cell.next()
            if job is not None:
                self.in_flight[job_id] = (cell, job)
                self.log.issued(job_id, cell, job)
            self._settle(cell)
            if job is not None:
                return job
        return None

    def report(self, job_id: str, epoch: int, value: float) -> bool:
        """An intermediate score of a trial on val; True if it should be pruned."""
        self._give_up_taken()
        cell, job = self.in_flight[job_id]
        if job_id in self._dropped:
            return True
        self.log.reading(job_id, cell, job, epoch, value)
        return isinstance(job, TuneJob) and cell.report(job, epoch, value)

    def finish(self, job_id: str, outcomes: Sequence[Outcome], pruned: bool = False) -> None:
        """Results of a job, one per point: committed to the store before this returns. Those of a
        cell that another driver has taken are dropped."""
        self._give_up_taken()
        cell, job = self.in_flight.pop(job_id)
        if job_id in self._dropped:
            self._dropped.discard(job_id)
            self.log.dropped(job_id, cell)
            return
        try:
            if isinstance(job, TuneJob):
                cell.finish_trials(job, outcomes, pruned)
            else:
                for seed, outcome in zip(job.seeds, outcomes, strict=True):
                    cell.finish_final(seed, job, outcome)
        except (LeaseLost, Duplicate):
            self.log.dropped(job_id, cell)
            self._lose(cell)
        else:
            self.log.ended(job_id, cell, job, outcomes, pruned)
            self._settle(cell)

    def lose(self, job_id: str, reason: str) -> None:
        """A job that ended without results: its worker died."""
        _, job = self.in_flight[job_id]
        self.finish(job_id, [Outcome(None, {}, 0.0, 0.0, reason)] * job.runs)

    def renew(self) -> None:
        """Renews our leases. May be called from any thread."""
        held = set(self.mine)
        if held:
            self._taken |= held - self.store.renew(self.owner, LEASE)

    def close(self) -> None:
        """Releases our leases, so that other drivers needn't wait until they expire."""
        if self.mine:
            with suppress(BadInput):  # the database is unreachable; they will expire
                self.store.release(self.owner)
            self.mine.clear()

    def _take(self, cell: CellState) -> None:
        """Leases a cell and catches up with what others did for it, unless another driver has
        it."""
        key = cell.planned.key
        if self.store.lease([key], self.owner, LEASE):
            self.mine.add(key)
            self._catch_up([cell])
            self.log.leased(cell)
        else:
            cell.elsewhere, self.elsewhere[key] = True, cell
            self.log.elsewhere(cell)
        self._settle(cell)

    def _look_elsewhere(self) -> bool:
        """Catches up with the cells that others have. Returns whether one is finished or free."""
        if not self.elsewhere or time.monotonic() - self._looked < _LOOK:
            return False
        self._looked = time.monotonic()
        held = self._held()
        self._catch_up(self.elsewhere.values())
        changed = [cell for key, cell in self.elsewhere.items() if key not in held or cell.finished]
        for cell in changed:
            cell.elsewhere = False
            del self.elsewhere[cell.planned.key]
            self.log.back(cell)
        for cell in (*changed, *self.elsewhere.values()):
            self._settle(cell)
        return bool(changed)

    def _held(self) -> set[str]:
        """Cells that are leased. Frees those of drivers that died on this machine."""
        held = set()
        for lease in self.store.leases():
            if gone(lease.owner):
                self.store.release(lease.owner)
            elif lease.seconds > 0:
                held.add(lease.cell)
        return held

    def _catch_up(self, cells: Collection[CellState]) -> None:
        progress = self.store.progress(cell.planned.key for cell in cells)
        for cell in cells:
            cell.catch_up(progress[cell.planned.key])

    def _give_up_taken(self) -> None:
        while self._taken:
            key = self._taken.pop()
            if key in self.mine:
                self._lose(self._by_key[key])

    def _lose(self, cell: CellState) -> None:
        """Another driver has taken this cell from us: its search is rebuilt if it comes back, and
        jobs in flight are wasted."""
        key = cell.planned.key
        self.mine.discard(key)
        self._dropped |= {job_id for job_id, (other, _) in self.in_flight.items() if other is cell}
        self._catch_up([cell])
        cell.elsewhere, self.elsewhere[key] = True, cell
        self.log.taken(cell)
        self._settle(cell)

    def _settle(self, cell: CellState) -> None:
        """A cell has changed."""
        key = cell.planned.key
        if cell.finished:
            self.unfinished.discard(key)
            if key in self.mine:
                self.store.release(self.owner, [key])
                self.mine.discard(key)
        self._count(cell)
        cell.changes += 1
        self.order.update(cell)
        self.log.settled(cell)

    def _count(self, cell: CellState) -> None:
        now = Counter({**cell.counts, "results": len(cell.scores)})
        self.ended.update(now)
        self.ended.subtract(self._tallies.get(cell.planned.key, {}))
        self._tallies[cell.planned.key] = now
