"""The state of one cell: a search, rebuilt from the store's trials and continued by new ones; then
one final run per seed with the best point."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from harness.engine.jobs import (
    DIED,
    EAGER,
    FINAL,
    NODE,
    OUT_OF_MEMORY,
    TRACEBACK,
    TRIAL,
    FinalJob,
    Job,
    Outcome,
    TuneJob,
    smaller,
)
from harness.engine.status import planned_work
from harness.engine.study import STATES, CellSearch
from harness.planning.cell import PlannedCell
from harness.store import Cell, Failure, Progress, Result, Store, Trial, result_id
from harness.store.records import chosen

LIVES = 4
"""Attempts' budget of a piece of work. A failure costs two, so that it is retried once, as a new
trial or run; a worker that died costs one."""


class CellState:
    """What is done for a cell, what is left, and its jobs in flight."""

    def __init__(self, planned: PlannedCell, store: Store, owner: str, progress: Progress):
        """`owner`: the driver that stores its rows. `progress`: what the store has for it."""
        self.planned = planned
        self.store = store
        self.owner = owner
        self.changes = 0
        """Counts what happened to it, for views of it."""
        self.elsewhere = False
        """Whether another driver works on it."""
        self.seconds = self.units = 0.0
        """What its successful jobs took, as far as seen here."""
        self.trial_units, self.final_units = _expected(planned)
        self.failed_before = set(progress.failures.values())
        self.catch_up(progress)

    def catch_up(self, progress: Progress) -> None:
        """Adopts what the store has. Jobs in flight are forgotten."""
        self.counts = Counter(progress.trials)
        self.scores = dict(progress.scores)
        self.failures = {
            seed: failure.line
            for seed, failure in progress.failures.items()
            if failure not in self.failed_before
        }
        """Reason by seed, for this run: running the command again retries earlier failures."""
        self.spent: Counter[int | str] = Counter()
        """Lives spent, by seed of a final run or point of the search."""
        self.retry: list[tuple[dict[str, Any], int | None]] = []
        """Points to try again, each with its micro-batch."""
        self.micro_batch: dict[int, int] = {}
        """For final runs that ran out of memory, by seed."""
        self.fits: dict[type[Job], int] = {}
        """The smallest micro-batch that sufficed where a whole batch didn't, by kind of job: what
        the next one starts with."""
        self.search: CellSearch | None = None
        """From the first trial that is requested until the last has ended."""
        self.running: set[int] = set()
        self.best: tuple[dict[str, Any], int | None] | None = (
            (dict(self.planned.protocol.fixed), None) if self.planned.trials == 0 else None
        )
        """The chosen point and its micro-batch, once a final run needed it."""

    @property
    def cell(self) -> Cell:
        """The cell's row, with the requested work: `harness status` reads only the store."""
        plan = planned_work(
            self.planned.trials, self.planned.seeds, self.trial_units, self.final_units
        )
        return replace(self.planned.cell, labels={**self.planned.cell.labels, "asked": plan})

    @property
    def done_trials(self) -> int:
        """Points of the budget that are used up: completed, pruned, or failed too often in this
        run."""
        given_up = sum(
            isinstance(of, str) and spent >= LIVES for of, spent in list(self.spent.items())
        )
        return sum(self.counts[state] for state in STATES) + given_up

    @property
    def open(self) -> int:
        """Trials in flight."""
        return len(self.search.open) if self.search else 0

    @property
    def tuned(self) -> bool:
        return self.done_trials >= self.planned.trials and not self.open

    @property
    def missing_seeds(self) -> list[int]:
        return [
            seed
            for seed in self.planned.seeds
            if seed not in self.scores and seed not in self.failures
        ]

    @property
    def finished(self) -> bool:
        return not self.running and not self.open and not self.missing_seeds

    @property
    def left(self) -> float:
        """Forward-image units that are expected to remain, jobs in flight included."""
        seeds = len(self.missing_seeds)
        trials = max(0, self.planned.trials - self.done_trials) if seeds else 0
        return trials * self.trial_units + seeds * self.final_units

    def gives(self, few: int) -> int | None:
        """The kind of job that `next` would return, if a search prefers at most `few` trials at
        once; None if there is nothing to start."""
        missing = self.missing_seeds
        if not missing or self.elsewhere:
            return None
        if self.tuned:
            return FINAL if any(seed not in self.running for seed in missing) else None
        if self.planned.trials - self.done_trials - self.open <= 0:
            return None
        return TRIAL if self.open < few or self.planned.constant_features else EAGER

    def next(self) -> Job | None:
        """The next job, now in flight; None if the search failed: its seeds are gaps then."""
        return self._next_final() if self.tuned else self._next_trial()

    def _next_final(self) -> Job | None:
        point = self._choose()
        if point is None:
            self._give_up()
            return None
        params, at_first = point
        waiting = [seed for seed in self.missing_seeds if seed not in self.running]
        at_first = self.fits.get(FinalJob, at_first)
        micro = self.micro_batch.get(waiting[0], at_first)
        same_size = [seed for seed in waiting if self.micro_batch.get(seed, at_first) == micro]
        seeds = same_size if self.planned.constant_features else waiting[:1]
        self.running.update(seeds)
        return FinalJob(self.planned.key, tuple(seeds), params, micro)

    def _next_trial(self) -> Job:
        if self.search is None:
            trials = self.store.trials(self.planned.key)
            self.search = CellSearch(self.planned, trials)
            self.seconds = sum(trial.seconds for trial in trials if trial.state in STATES)
            self.units = sum(trial.units for trial in trials if trial.state in STATES)
            for trial in trials:
                if trial.state in STATES:
                    self._fitted(TuneJob, trial.provenance.get("micro_batch"))
        micro, many = None, self.planned.trials - self.done_trials - self.open
        if self.retry:
            micro = self.retry[0][1]
            many = sum(other == micro for _, other in self.retry)
        many = many if self.planned.constant_features else 1
        points = tuple(self.search.ask(self._again(micro)) for _ in range(many))
        fits = self.fits.get(TuneJob)
        if micro is None and fits and fits < self.planned.batch_size(*dict(points).values()):
            micro = fits
        return TuneJob(self.planned.key, points, micro)

    def _fitted(self, job: type[Job], micro_batch: int | None) -> None:
        """A run with this micro-batch, if that isn't the whole batch, had enough memory."""
        if micro_batch:
            self.fits[job] = min(micro_batch, self.fits.get(job, micro_batch))

    def _again(self, micro: int | None) -> dict[str, Any] | None:
        """Removes and returns the first point to retry with this micro-batch."""
        entry = next((entry for entry in self.retry if entry[1] == micro), None)
        if entry is None:
            return None
        self.retry.remove(entry)
        return entry[0]

    def report(self, job: TuneJob, epoch: int, value: float) -> bool:
        """An intermediate score of a trial; True if it should be pruned."""
        assert self.search is not None
        return len(job.points) == 1 and self.search.report(job.points[0][0], epoch, value)

    def finish_trials(self, job: TuneJob, outcomes: Sequence[Outcome], pruned: bool) -> None:
        """Stores a job's outcomes. Raises what `Store.add_trials` does."""
        assert self.search is not None
        rows = []
        for (number, params), outcome in zip(job.points, outcomes, strict=True):
            state = "failed" if outcome.reason else "pruned" if pruned else "complete"
            rows.append(
                Trial(
                    self.planned.key,
                    number,
                    params,
                    state,
                    outcome.score if state == "complete" else None,
                    outcome.curve,
                    outcome.reason,
                    outcome.seconds,
                    outcome.units,
                    outcome.provenance or {},
                    outcome.curves or {},
                )
            )
        self.store.add_trials(rows, held_by=self.owner)
        for row in rows:
            self.counts[row.state] += 1
            self.search.tell(row)
            micro = row.provenance.get("micro_batch", job.micro_batch)
            if row.state == "failed":
                point = json.dumps(row.params, sort_keys=True)
                half = self._half(job, row.reason, micro)
                self.spent[point] += _cost(row.reason, half)
                if self.spent[point] < LIVES:
                    self.retry.append((row.params, half or micro))
            else:
                self._fitted(TuneJob, micro)
                self.seconds, self.units = self.seconds + row.seconds, self.units + row.units
        if self.tuned:
            self.search = None

    def finish_final(self, seed: int, job: FinalJob, outcome: Outcome) -> None:
        """Stores a job's outcome. Raises what `Store.add_result` does."""
        self.running.discard(seed)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        micro = (outcome.provenance or {}).get("micro_batch", job.micro_batch)
        if outcome.score is None:
            half = self._half(job, outcome.reason, micro)
            if half:
                self.micro_batch[seed] = half
            self.spent[seed] += _cost(outcome.reason, half)
            if self.spent[seed] >= LIVES:
                self._fail(
                    seed, outcome.reason or "unknown", (outcome.provenance or {}).get(TRACEBACK)
                )
            return
        result = Result(
            id=result_id(self.planned.key, seed),
            cell=self.planned.key,
            seed=seed,
            params=job.params,
            score=outcome.score,
            trainable=outcome.trainable,
            head_params=outcome.head_params,
            logits_sha256=outcome.logits_sha256,
            seconds=outcome.seconds,
            memory=outcome.memory,
            units=outcome.units,
            curve=outcome.curve,
            provenance={**(outcome.provenance or {}), "inputs": dict(self.planned.inputs)},
            created=now,
            extras=outcome.extras or {},
            train_only=outcome.train_only,
            curves=outcome.curves or {},
        )
        self.store.add_result(result, held_by=self.owner)
        self._fitted(FinalJob, micro)
        self.scores[seed] = outcome.score
        self.seconds, self.units = self.seconds + outcome.seconds, self.units + outcome.units

    def _half(self, job: Job, reason: str | None, micro_batch: int | None) -> int | None:
        """For a job that ran out of memory: the micro-batch to try next, 0 if it can't be smaller;
        None for other reasons."""
        if reason is None or not reason.startswith(OUT_OF_MEMORY):
            return None
        if self.planned.variant.method.whole_batch:
            return 0
        return smaller(micro_batch, self.planned.batch_size(*job.chosen)) or 0

    def _choose(self) -> tuple[dict[str, Any], int | None] | None:
        """The point with the best last-epoch score on val; ties go to the smaller learning rate,
        then to the earlier trial."""
        if self.best is None:
            trial = chosen(self.store.best_trials(self.planned.key))
            if trial is not None:
                # its final runs fit in the memory that it fitted in
                self.best = trial.params, trial.provenance.get("micro_batch")
        return self.best

    def _give_up(self) -> None:
        """All trials of the search failed: every seed becomes a gap with the last reason."""
        failed = [trial for trial in self.store.trials(self.planned.key) if trial.reason]
        for seed in self.missing_seeds:
            self._fail(
                seed,
                "no trial of the search succeeded:"
                f" {failed[-1].reason if failed else 'all were pruned'}",
                failed[-1].provenance.get(TRACEBACK) if failed else None,
            )

    def _fail(self, seed: int, reason: str, traceback: str | None = None) -> None:
        reason = " ".join(reason.split())
        self.failures[seed] = reason
        full = f"{reason}\n{traceback}" if traceback else reason
        self.store.add_failure(
            Failure(self.planned.key, seed, full, datetime.now(UTC).isoformat(timespec="seconds"))
        )


def _cost(reason: str | None, half: int | None) -> int:
    """Lives that a failure costs: none if it is retried with a smaller micro-batch (`half`), all if
    there is none (0)."""
    if half is not None:
        return 0 if half else LIVES
    if reason is None or not reason.startswith((DIED, NODE)):
        return LIVES // 2
    return 1 if reason.startswith(DIED) else 0


def _expected(planned: PlannedCell) -> tuple[float, float]:
    """Forward-image units of a trial and of a final run; if features are computed once, an equal
    share of that."""
    from harness.planning.cost import variant_cost

    card, protocol, trials, seeds = (
        planned.card,
        planned.protocol,
        planned.trials,
        len(planned.seeds),
    )
    if planned.constant_features:
        share = variant_cost(planned.variant, card, protocol, trials, seeds).units / (
            trials + seeds
        )
        return share, share
    return (
        variant_cost(planned.variant, card, protocol, 1, 0).units,
        variant_cost(planned.variant, card, protocol, 0, 1).units,
    )
