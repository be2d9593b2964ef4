"""The two places where Ray Tune asks us: which trial comes next (Searcher) and whether a running one should end (Stopper)."""

from pathlib import Path

from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from harness.orchestrate.interrupts import held
from harness.orchestrate.jobs import DIED, Outcome, dump
from harness.orchestrate.ledger import Ledger
from harness.orchestrate.view import View
from harness.orchestrate.watchdog import word_of
from harness.orchestrate.worker import outcomes_of


class LedgerSearcher(Searcher):
    """Hands out the ledger's jobs as Tune trials, and gives it their results."""

    def __init__(self, ledger: Ledger, stopper: "LedgerStopper", view: View):
        super().__init__()
        self.ledger = ledger
        self.stopper = stopper
        self.view = view

    def suggest(self, trial_id: str) -> dict | str | None:
        if self.ledger.finished:
            return Searcher.FINISHED
        job = self.ledger.next(trial_id)
        if job is None:
            return Searcher.FINISHED if self.ledger.finished else None
        return {"job": dump(job)}

    def __getstate__(self) -> dict:
        """Tune writes a copy of us to disk for its own restore, which isn't used."""
        return {}

    def on_trial_result(self, trial_id: str, result: dict) -> None:
        """Readings in mid-trial are the Stopper's, which Tune asks first."""

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        cell, _ = self.ledger.in_flight[trial_id]
        with held():  # what is finished reaches the store
            self._complete(trial_id, result)
        self.view.update(cell)

    def _complete(self, trial_id: str, result: dict | None) -> None:
        last = self.stopper.last.pop(trial_id, None)
        if result is not None and "outcomes" in result:
            self.ledger.finish(trial_id, outcomes_of(result))
        elif result is not None and "error" in result:
            self.ledger.lose(trial_id, result["error"])
        elif trial_id in self.stopper.pruned and last is not None:
            curve = self.stopper.curves.pop(trial_id, {})
            self.ledger.finish(trial_id, [Outcome(last["value"], curve, last["seconds"], last["units"])], pruned=True)
        elif trial_id in self.ledger.in_flight:
            self.ledger.lose(trial_id, word_of(trial_id) or f"{DIED} (killed, or the machine out of memory)")
        self.stopper.curves.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the store holds the state, and Tune's own restore isn't used."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class LedgerStopper(Stopper):
    """Ends hopeless trials. Tune asks it at every result, before the Searcher hears of it."""

    def __init__(self, ledger: Ledger):
        self.ledger = ledger
        self.pruned: set[str] = set()
        self.last: dict[str, dict] = {}
        self.curves: dict[str, dict[int, float]] = {}

    def __call__(self, trial_id: str, result: dict) -> bool:
        if "value" not in result or trial_id not in self.ledger.in_flight:
            return False
        self.last[trial_id] = result
        self.curves.setdefault(trial_id, {})[result["epoch"]] = result["value"]
        if self.ledger.report(trial_id, result["epoch"], result["value"]):
            self.pruned.add(trial_id)
            return True
        return False

    def __getstate__(self) -> dict:
        """As the Searcher's."""
        return {}

    def stop_all(self) -> bool:
        return False
