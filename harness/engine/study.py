"""A cell's search: an Optuna study in memory, rebuilt from the store's trials when its first
point is requested."""

import hashlib
import random
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import TrialState

from harness.planning import protocols
from harness.planning.cell import PlannedCell
from harness.planning.space import points
from harness.store import Trial
from harness.store.records import cell_key, without_code

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
"""States of trials from which a study learns; it learns nothing from failed ones."""

DRAWS = 10
"""How often the sampler is asked for a point that hasn't been tried, before one is drawn from those
that are left."""


class CellSearch:
    """The study of one cell and its trials in flight."""

    def __init__(self, planned: PlannedCell, trials: Sequence[Trial]):
        """`trials`: all that the store has for the cell."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.planned = planned
        self.chance = _chance(planned)
        self.open: dict[int, optuna.trial.Trial] = {}
        self.next_number = max((trial.number for trial in trials), default=-1) + 1
        ended = [trial for trial in trials if trial.state in STATES]
        self.study = _rebuild(planned, ended)
        self.tried = [trial.params for trial in ended]
        """Points that aren't proposed again. One whose trial failed before this search may be."""
        wanted = [dict(point) for point in planned.protocol.start]
        if planned.space and planned.protocol.sampler == "grid":
            grid = [point for point in protocols.grid(dict(planned.space)) if point not in wanted]
            left = planned.trials - len(wanted)
            if left < len(grid):  # the first of them would all have the first values
                grid = random.Random(self.chance).sample(grid, max(0, left))
            wanted += grid
        self.first = [
            point
            for point in wanted[: planned.trials]
            if all(trial.params != point for trial in ended)
        ]
        """Points to try before the sampler chooses any: known ones, then those of a grid."""

    def ask(self, again: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """A point to try, with its number: `again` if given, else the next of `first`, else one
        that hasn't been tried.

        Its randomness depends on the cell and the trial's number, not on how often the run was
        interrupted, nor on the code of one's own method.
        """
        number = self.next_number
        self.next_number += 1
        if again is not None:
            self.study.enqueue_trial(again)
        elif self.first:
            # one at a time: the first enqueued is returned first
            self.study.enqueue_trial(self.first.pop(0))
        text = f"{self.chance}/{number}"
        trial = self._asked(text)
        if trial.params in self.tried and again is None:
            trial = self._untried(trial, text)
        self.tried.append(dict(trial.params))
        self.open[number] = trial
        return number, dict(trial.params)

    def _asked(self, text: str) -> optuna.trial.Trial:
        """The study's next trial, its randomness from `text`."""
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
        startup = min(10, max(2, self.planned.trials // 3))
        if self.planned.protocol.sampler == "tpe":
            self.study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup)
        else:
            self.study.sampler = optuna.samplers.RandomSampler(seed=seed)
        return self.study.ask(fixed_distributions=dict(self.planned.space))

    def _untried(self, trial: optuna.trial.Trial, text: str) -> optuna.trial.Trial:
        """Another trial in place of one whose point was tried: TPE proposes a good point of choices
        over and over, and training it again would give the same score."""
        for draw in range(1, DRAWS + 1):
            self.study.tell(trial, state=TrialState.FAIL)
            trial = self._asked(f"{text}/{draw}")
            if trial.params not in self.tried:
                return trial
        left = [point for point in points(self.planned.space) if point not in self.tried]
        if left:
            self.study.tell(trial, state=TrialState.FAIL)
            self.study.enqueue_trial(random.Random(text).choice(left))
            return self._asked(text)
        return trial

    def report(self, number: int, epoch: int, value: float) -> bool:
        """An intermediate score of a trial; True if the pruner would end it."""
        trial = self.open[number]
        trial.report(value, epoch)
        return epoch < self.planned.protocol.last and trial.should_prune()

    def tell(self, row: Trial) -> None:
        """A trial has ended."""
        self.study.tell(
            self.open.pop(row.number), row.value, state=STATES.get(row.state, TrialState.FAIL)
        )


def _chance(planned: PlannedCell) -> str:
    """What a search's points depend on beside its space and scores: the cell, but for the code of
    one's own method, so that an edit is judged at the same points as before."""
    if planned.variant.code is None:
        return planned.key
    return cell_key(without_code(planned.cell.identity))


def _rebuild(planned: PlannedCell, ended: Sequence[Trial]) -> optuna.Study:
    """The study as the store's trials left it."""
    protocol, space = planned.protocol, dict(planned.space)
    median = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=protocol.prune_from)
    study = optuna.create_study(
        direction="maximize",
        pruner=median if protocol.pruner == "median" else optuna.pruners.NopPruner(),
    )
    for trial in ended:
        study.add_trial(
            optuna.create_trial(
                state=STATES[trial.state],
                value=trial.value,
                params=trial.params,
                distributions=space,
                intermediate_values={int(epoch): value for epoch, value in trial.curve.items()},
            )
        )
    return study
