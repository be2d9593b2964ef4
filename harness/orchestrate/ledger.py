"""The ledger: which cells are filled, what is left, and which piece of work comes next. Plain Python over the store; knows nothing of Ray.

A cell goes through two stages. *Tune*: an Optuna study that lives in memory and is rebuilt from the store's trials; *final*: a run a seed
with the best point. Whatever is finished is in the store at once, so resuming is nothing but building a ledger again.
"""

import hashlib
import json
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import optuna
from optuna.trial import TrialState

from harness import protocols
from harness.orchestrate.jobs import OUT_OF_MEMORY, FinalJob, Job, Outcome, TuneJob, smaller
from harness.plan import PlannedCell, RunPlan
from harness.store import Failure, Result, Store, Trial, result_id

RETRIES = 1
"""A piece of work that fails is tried once more, as a new trial or run."""

_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}


class Ledger:
    """What is left of a plan. `next` hands out jobs; `report`, `finish` and `lose` take their results."""

    def __init__(self, plan: RunPlan, store: Store):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.cells = [CellLedger(planned, store) for planned in plan.cells]
        self.in_flight: dict[str, tuple[CellLedger, Job]] = {}

    @property
    def finished(self) -> bool:
        return not self.in_flight and all(cell.finished for cell in self.cells)

    def next(self, job_id: str) -> Job | None:
        """The next job, now in flight under `job_id`; None where all that is left waits for jobs in flight.

        Cells are served in the plan's order, so few tasks are open at a time. A search takes few trials at once, since TPE learns from
        those that ended; only where a device would idle otherwise does it take more.
        """
        for eager in (False, True):
            for cell in self.cells:
                job = cell.next(eager)
                if job is not None:
                    self.in_flight[job_id] = (cell, job)
                    return job
        return None

    def report(self, job_id: str, epoch: int, value: float) -> bool:
        """A reading of val in mid-trial; True where the trial is hopeless and should end."""
        cell, job = self.in_flight[job_id]
        return isinstance(job, TuneJob) and cell.report(job, epoch, value)

    def finish(self, job_id: str, outcomes: Sequence[Outcome], pruned: bool = False) -> None:
        """Results of a job, one a point: committed to the store before this returns."""
        cell, job = self.in_flight.pop(job_id)
        if isinstance(job, TuneJob):
            cell.finish_trials(job, outcomes, pruned)
        else:
            for seed, outcome in zip(job.seeds, outcomes, strict=True):
                cell.finish_final(seed, job, outcome)

    def lose(self, job_id: str, reason: str) -> None:
        """A job that ended without results: its worker died."""
        _, job = self.in_flight[job_id]
        self.finish(job_id, [Outcome(None, {}, 0.0, 0.0, reason)] * job.runs)


class CellLedger:
    """One cell: its study, its final runs, and the jobs of it that are in flight."""

    def __init__(self, planned: PlannedCell, store: Store):
        self.planned = planned
        self.store = store
        self.trials = [trial for trial in store.trials(planned.key)]
        self.results = {result.seed: result for result in store.results(planned.key)}
        self.failures = {}
        """Reason by seed, of this run: what failed before is tried again when the user runs the command again."""
        self.tries: dict[int, int] = {}
        self.failed_points: dict[str, int] = {}
        self.retry: list[tuple[dict[str, Any], int | None]] = []
        """Points to try again, each with its micro-batch."""
        self.grid: list[dict[str, Any]] = []
        """Points of a grid that wait for their first try."""
        self.micro_batch: dict[int, int] = {}
        """Of final runs that ran out of memory, by seed."""
        self.open: dict[int, optuna.trial.Trial] = {}
        self.running: set[int] = set()
        self.next_number = max((trial.number for trial in self.trials), default=-1) + 1
        self.study = self._rebuild()

    @property
    def done_trials(self) -> int:
        """Points of the budget that are spent: completed, pruned, or failed twice in this run."""
        ended = sum(trial.state in _STATES for trial in self.trials)
        return ended + sum(failures > RETRIES for failures in list(self.failed_points.values()))

    @property
    def tuned(self) -> bool:
        return self.done_trials >= self.planned.trials and not self.open

    @property
    def best(self) -> dict[str, Any] | None:
        """The chosen point: the best last-epoch score on val, ties to the smaller learning rate, then to the earlier trial."""
        if self.planned.trials == 0:
            return {}
        trial = self.best_trial
        return trial.params if trial else None

    @property
    def best_trial(self) -> Trial | None:
        complete = [trial for trial in self.trials if trial.state == "complete" and trial.value is not None]
        return min(complete, key=lambda t: (-(t.value or 0.0), t.params.get("base_lr", 0.0), t.number)) if complete else None

    @property
    def missing_seeds(self) -> list[int]:
        return [seed for seed in self.planned.seeds if seed not in self.results and seed not in self.failures]

    @property
    def finished(self) -> bool:
        return not self.running and self.tuned and not self.missing_seeds

    def next(self, eager: bool) -> Job | None:
        if not self.missing_seeds:
            return None
        if self.tuned:
            best = self.best
            if best is None:
                self._give_up()
                return None
            waiting = [seed for seed in self.missing_seeds if seed not in self.running]
            if not waiting:
                return None
            trial = self.best_trial  # what memory it fitted in, its final runs fit in
            at_first = trial.provenance.get("micro_batch") if trial else None
            micro = self.micro_batch.get(waiting[0], at_first)
            alike = [seed for seed in waiting if self.micro_batch.get(seed, at_first) == micro]
            seeds = alike if self.planned.constant_features else waiting[:1]
            self.running.update(seeds)
            return FinalJob(self.planned.key, tuple(seeds), best, micro)
        left = self.planned.trials - self.done_trials - len(self.open)
        if left <= 0:
            return None
        if self.retry:
            micro = self.retry[0][1]
            alike = sum(other == micro for _, other in self.retry) if self.planned.constant_features else 1
            return TuneJob(self.planned.key, tuple(self._ask(micro) for _ in range(alike)), micro)
        if self.planned.constant_features:
            return TuneJob(self.planned.key, tuple(self._ask() for _ in range(left)))
        if not eager and len(self.open) >= max(1, self.planned.trials // 5):
            return None
        return TuneJob(self.planned.key, (self._ask(),))

    def report(self, job: TuneJob, epoch: int, value: float) -> bool:
        if len(job.points) > 1:
            return False
        number, _ = next(iter(job.points))
        trial = self.open[number]
        trial.report(value, epoch)
        return epoch < self.planned.protocol.epochs and trial.should_prune()

    def finish_trials(self, job: TuneJob, outcomes: Sequence[Outcome], pruned: bool) -> None:
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
                )
            )
        self.store.add_trials(rows)
        self.trials += rows
        for row in rows:
            trial = self.open.pop(row.number)
            if row.state == "failed":
                self.study.tell(trial, state=TrialState.FAIL)
                point = json.dumps(row.params, sort_keys=True)
                half = self._half(job, row.reason)
                if not half:
                    self.failed_points[point] = self.failed_points.get(point, 0) + (1 if half is None else 1 + RETRIES)
                if half or self.failed_points[point] <= RETRIES:
                    self.retry.append((row.params, half or job.micro_batch))
            else:
                self.study.tell(trial, row.value, state=_STATES[row.state])

    def finish_final(self, seed: int, job: FinalJob, outcome: Outcome) -> None:
        self.running.discard(seed)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        if outcome.score is None:
            half = self._half(job, outcome.reason)
            if half:
                self.micro_batch[seed] = half
                return
            if half == 0:
                self.tries[seed] = RETRIES
            self.tries[seed] = self.tries.get(seed, 0) + 1
            if self.tries[seed] > RETRIES:
                self._fail(seed, outcome.reason or "unknown")
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
        )
        self.store.add_result(result)
        self.store.clear_failure(self.planned.key, seed)
        self.results[seed] = result

    def _half(self, job: Job, reason: str | None) -> int | None:
        """For a job that ran out of memory: the micro-batch to try next, 0 where it can't be smaller. None for other reasons."""
        if reason is None or not reason.startswith(OUT_OF_MEMORY):
            return None
        return smaller(job.micro_batch, self.planned.protocol.batch_size) or 0

    def _give_up(self) -> None:
        """No trial of the search came through: every seed is a gap with the last reason."""
        reasons = [trial.reason for trial in self.trials if trial.reason]
        for seed in self.missing_seeds:
            self._fail(seed, f"no trial of the search came through: {reasons[-1] if reasons else 'all were pruned'}")

    def _fail(self, seed: int, reason: str) -> None:
        self.failures[seed] = reason
        self.store.add_failure(Failure(self.planned.key, seed, reason, datetime.now(UTC).isoformat(timespec="seconds")))

    def _rebuild(self) -> optuna.Study:
        """The study as the store's trials left it. Failed ones teach it nothing and are left out."""
        protocol, space = self.planned.protocol, dict(self.planned.space)
        median = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=protocol.prune_from)
        study = optuna.create_study(direction="maximize", pruner=median if protocol.pruner == "median" else optuna.pruners.NopPruner())
        ended = [trial for trial in self.trials if trial.state in _STATES]
        for trial in ended:
            study.add_trial(
                optuna.create_trial(
                    state=_STATES[trial.state],
                    value=trial.value,
                    params=trial.params,
                    distributions=space,
                    intermediate_values={int(epoch): value for epoch, value in trial.curve.items()},
                )
            )
        if space and protocol.sampler == "grid":
            self.grid = [point for point in protocols.grid(space)[: self.planned.trials] if all(trial.params != point for trial in ended)]
        return study

    def _ask(self, micro_batch: int | None = None) -> tuple[int, dict[str, Any]]:
        """A point to try: one to be tried again with this micro-batch, else the grid's next, else a new one.

        Its randomness follows from the cell and the trial's number, not from how often the run was interrupted.
        """
        number = self.next_number
        self.next_number += 1
        again = next((entry for entry in self.retry if entry[1] == micro_batch), None)
        if again is not None:
            self.retry.remove(again)
            self.study.enqueue_trial(again[0])
        elif self.grid:
            self.study.enqueue_trial(self.grid.pop(0))  # one at a time: what is enqueued first is asked first
        seed = int.from_bytes(hashlib.sha256(f"{self.planned.key}/{number}".encode()).digest()[:4])
        startup = min(10, max(2, self.planned.trials // 3))
        if self.planned.protocol.sampler == "tpe":
            self.study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)
        else:
            self.study.sampler = optuna.samplers.RandomSampler(seed=seed)
        trial = self.study.ask(fixed_distributions=dict(self.planned.space))
        self.open[number] = trial
        return number, dict(trial.params)
