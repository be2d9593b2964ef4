"""The trials behind a leaderboard's cells, for the page's panel: how each search went."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from harness.reporting.formats.page.runs import evenly, significant, thinned
from harness.reporting.formats.page.values import Once, shortened
from harness.reporting.section import Section
from harness.store import Store, Trial
from harness.store.records import chosen
from harness.text import plain

POINTS = 16
"""Of a trial's curve: a search has many."""
MOST = 64
"""Trials of a cell, the first ones."""
_STATES = ("complete", "pruned", "failed")


class Searches:
    """The trials of the shown cells."""

    def __init__(self, store: Store):
        self._trials: defaultdict[str, list[Trial]] = defaultdict(list)
        for trial in store.trials():
            self._trials[trial.cell].append(trial)
        self._epochs = Once()

    def of(self, part: Section) -> list[list[Any]]:
        """By variant and task: [names of hyper-parameters, trials, number of the one that was
        chosen], None without trials."""
        return [
            [
                self._cell(row.cell.key) if (row := part.results.get((variant, task))) else None
                for task in part.tasks
            ]
            for variant in part.scores
        ]

    def shared(self) -> dict[str, list[Any]]:
        return {"epochs": self._epochs.values}

    def _cell(self, key: str) -> list[Any] | None:
        trials = self._trials[key][:MOST]
        if not trials:
            return None
        names = list(dict.fromkeys(name for trial in trials for name in trial.params))
        best = chosen(trials)
        return [
            [plain(name) for name in names],
            [self._trial(trial, names) for trial in trials],
            None if best is None else best.number,
        ]

    def _trial(self, trial: Trial, names: Sequence[str]) -> list[Any]:
        """[number; place in `_STATES`; value; hyper-parameters; place of its curve's epochs, and
        the curve; the same of its training loss]"""
        curve = thinned(trial.curve, POINTS)
        steps, loss = _losses(trial.curves)
        return [
            trial.number,
            _STATES.index(trial.state),
            None if trial.value is None else round(trial.value, 2),
            [shortened(trial.params.get(name)) for name in names],
            self._epochs.place(list(curve)),
            list(curve.values()),
            self._epochs.place(steps),
            loss,
        ]


def _losses(curves: Mapping[str, Sequence[float | None]]) -> tuple[list[Any], list[float | None]]:
    """Epochs and training loss, thinned."""
    steps, loss = curves.get("epoch", []), curves.get("loss", [])
    at = evenly(min(len(steps), len(loss)), POINTS)
    return [steps[place] for place in at], [significant(loss[place]) for place in at]
