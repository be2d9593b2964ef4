"""A scheduler's actions as events: what is leased, handed out, scored, finished, lost and given
up."""

from collections.abc import Sequence
from typing import Any

from harness.engine.cell import CellState
from harness.engine.events import Events
from harness.engine.jobs import FinalJob, Job, Outcome, TuneJob


class EventLogger:
    """Publishes a scheduler's events."""

    def __init__(self, events: Events):
        self.events = events
        self.gaps: set[tuple[str, int]] = set()
        self.finished: set[str] = set()

    def started(
        self, store: str, owner: str, workers: int, cells: int, wanted: int, results: int
    ) -> None:
        """The run has devices. `store`: its name; `wanted`: results in the plan; `results`: those
        already stored."""
        self.events.emit(
            "started",
            store=store,
            owner=owner,
            workers=workers,
            cells=cells,
            wanted=wanted,
            results=results,
        )

    def done(self, wanted: int, results: int) -> None:
        """The plan is completed."""
        self.events.emit("ended", results=results, gaps=wanted - results)

    def leased(self, cell: CellState) -> None:
        """The cell is ours, and its rows are read."""
        self._emit("leased", cell, trials=cell.counts.total(), results=len(cell.scores))

    def elsewhere(self, cell: CellState) -> None:
        self._emit("elsewhere", cell)

    def taken(self, cell: CellState) -> None:
        self._emit("taken", cell)

    def back(self, cell: CellState) -> None:
        self._emit("back", cell)

    def issued(self, name: str, cell: CellState, job: Job) -> None:
        if isinstance(job, TuneJob):
            what: dict[str, Any] = {"kind": "tune", "trials": [number for number, _ in job.points]}
            params: Any = [params for _, params in job.points]
        else:
            what, params = {"kind": "final", "seeds": list(job.seeds)}, job.params
        self._emit("job", cell, job=name, **what, params=params, micro_batch=job.micro_batch)

    def reading(self, name: str, cell: CellState, job: Job, epoch: int, value: float) -> None:
        trial = job.points[0][0] if isinstance(job, TuneJob) else None
        self._emit("reading", cell, job=name, trial=trial, epoch=epoch, value=value)

    def ended(
        self, name: str, cell: CellState, job: Job, outcomes: Sequence[Outcome], pruned: bool
    ) -> None:
        """A job's outcomes are in the store."""
        for id, outcome in zip(
            job.seeds if isinstance(job, FinalJob) else job.points, outcomes, strict=True
        ):
            took, failed = round(outcome.seconds, 3), outcome.reason is not None
            if isinstance(id, int):
                about = (
                    {"value": outcome.score, "curve": outcome.curve, "curves": outcome.curves}
                    if not failed
                    else {"reason": outcome.reason}
                )
                self._emit(
                    "failed" if failed else "result", cell, job=name, seed=id, **about, took=took
                )
            else:
                number, params = id
                state = "failed" if failed else "pruned" if pruned else "complete"
                value = outcome.score if state == "complete" else None  # as it is stored
                about = {
                    "value": value,
                    "curve": outcome.curve,
                    "curves": outcome.curves,
                    "reason": outcome.reason,
                    "params": params,
                }
                self._emit("trial", cell, job=name, trial=number, state=state, **about, took=took)

    def dropped(self, name: str, cell: CellState) -> None:
        self._emit("dropped", cell, job=name)

    def settled(self, cell: CellState) -> None:
        """The cell has changed: gaps, and that it is finished, are published once."""
        key = cell.planned.key
        for seed, reason in cell.failures.items():
            if (key, seed) not in self.gaps:
                self.gaps.add((key, seed))
                self._emit("gap", cell, seed=seed, reason=reason)
        if cell.finished and key not in self.finished:
            self.finished.add(key)
            self._emit("finished", cell, results=len(cell.scores), gaps=len(cell.failures))

    def _emit(self, event: str, cell: CellState, **fields: Any) -> None:
        of = cell.planned
        self.events.emit(event, cell=of.key, method=of.variant.label, task=of.card.name, **fields)
