"""A scheduler's doings as events (`harness.engine.events` lists them): what is leased, handed out,
read, finished, lost and given up."""

from collections.abc import Sequence
from typing import Any

from harness.engine.cell import CellState
from harness.engine.events import Events
from harness.engine.jobs import FinalJob, Job, Outcome, TuneJob


class EventLogger:
    """Told by a scheduler, tells those who listen."""

    def __init__(self, events: Events):
        self.events = events
        self.gaps: set[tuple[str, int]] = set()
        self.finished: set[str] = set()

    def started(
        self, store: str, owner: str, workers: int, cells: int, wanted: int, results: int
    ) -> None:
        """The run has devices. `store`: its name; `wanted`: results of the plan; `results`: those
        that are there."""
        self.events.tell(
            "started",
            store=store,
            owner=owner,
            workers=workers,
            cells=cells,
            wanted=wanted,
            results=results,
        )

    def done(self, wanted: int, results: int) -> None:
        """Nothing of the plan is left."""
        self.events.tell("ended", results=results, gaps=wanted - results)

    def leased(self, cell: CellState) -> None:
        """The cell is ours, and its rows are read."""
        self._tell("leased", cell, trials=cell.counts.total(), results=len(cell.scores))

    def elsewhere(self, cell: CellState) -> None:
        self._tell("elsewhere", cell)

    def taken(self, cell: CellState) -> None:
        self._tell("taken", cell)

    def back(self, cell: CellState) -> None:
        self._tell("back", cell)

    def issued(self, name: str, cell: CellState, job: Job) -> None:
        if isinstance(job, TuneJob):
            what: dict[str, Any] = {"kind": "tune", "trials": [number for number, _ in job.points]}
            params: Any = [params for _, params in job.points]
        else:
            what, params = {"kind": "final", "seeds": list(job.seeds)}, job.params
        self._tell("job", cell, job=name, **what, params=params, micro_batch=job.micro_batch)

    def reading(self, name: str, cell: CellState, job: Job, epoch: int, value: float) -> None:
        trial = job.points[0][0] if isinstance(job, TuneJob) else None
        self._tell("reading", cell, job=name, trial=trial, epoch=epoch, value=value)

    def ended(
        self, name: str, cell: CellState, job: Job, outcomes: Sequence[Outcome], pruned: bool
    ) -> None:
        """What came of a job is in the store."""
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
                self._tell(
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
                self._tell("trial", cell, job=name, trial=number, state=state, **about, took=took)

    def dropped(self, name: str, cell: CellState) -> None:
        self._tell("dropped", cell, job=name)

    def settled(self, cell: CellState) -> None:
        """The cell has changed: what of it was given up, and whether it is finished, is told
        once."""
        key = cell.planned.key
        for seed, reason in cell.failures.items():
            if (key, seed) not in self.gaps:
                self.gaps.add((key, seed))
                self._tell("gap", cell, seed=seed, reason=reason)
        if cell.finished and key not in self.finished:
            self.finished.add(key)
            self._tell("finished", cell, results=len(cell.scores), gaps=len(cell.failures))

    def _tell(self, event: str, cell: CellState, **fields: Any) -> None:
        of = cell.planned
        self.events.tell(event, cell=of.key, method=of.variant.label, task=of.card.name, **fields)
