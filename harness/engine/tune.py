"""The two hooks of Ray Tune: which trial comes next (Searcher) and whether a running one should end
(Stopper)."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from harness.engine.cluster import TuneScheduler
from harness.engine.jobs import DIED, NODE, FinalJob, Outcome, dump
from harness.engine.progress import ProgressView
from harness.engine.scheduler import Scheduler
from harness.engine.signals import held
from harness.engine.watchdog import stored_reason
from harness.engine.worker import FILES, NEWS, outcomes_of
from harness.errors import BadInput
from harness.inference.checkpoint_files import Keep, receive
from harness.store import WARNINGS
from harness.text import plain

SPARE = 1
"""Jobs beyond those that fit: one is ready when a worker ends; a node that joins gets it, and an
autoscaler sees the demand."""

LOOK = 5.0
"""Seconds between checks of the cluster's nodes."""


class SchedulerSearcher(Searcher):
    """Hands out the scheduler's jobs as Tune trials, and returns their results to it."""

    def __init__(
        self,
        scheduler: Scheduler,
        stopper: "SchedulerStopper",
        view: ProgressView,
        keep: Keep | None = None,
        tune_scheduler: TuneScheduler | None = None,
        workers: int | None = None,
        room: Callable[[], int] | None = None,
        most: float = math.inf,
    ):
        """`keep`: where checkpoints sent by workers go. `workers`: jobs that the user wants at
        once; None: as many as fit.

        `room`: how many currently fit on a cluster's nodes. `most`: jobs that it hands out.
        """
        super().__init__()
        self.scheduler = scheduler
        self.stopper = stopper
        self.view = view
        self.keep = keep
        self.tune_scheduler = tune_scheduler
        self.workers = workers
        self.room = room
        self.most = most
        self.handed_out = 0
        self.looked = time.monotonic()

    @property
    def spent(self) -> bool:
        """Whether it has handed out as many jobs as it may."""
        return self.handed_out >= self.most

    @property
    def spare(self) -> int:
        """None on a machine of one's own until a job has ended: the first final run, which soon
        shows a score, would wait behind it."""
        return SPARE if self.room is not None or self.scheduler.order.all.units else 0

    def suggest(self, trial_id: str) -> dict | str | None:
        if self.scheduler.finished or self.spent:
            return Searcher.FINISHED
        with self.stopper.recording_faults():
            return self._suggest(trial_id)
        return Searcher.FINISHED

    def _suggest(self, trial_id: str) -> dict | str | None:
        self._check_nodes()
        if len(self.scheduler.in_flight) >= (
            self.workers or self.scheduler.order.devices + self.spare
        ):
            return None
        if self.scheduler.late:
            self.view.print_line("the hours of --max-hours are over: nothing new starts", once=True)
        job = self.scheduler.next(trial_id)
        if job is None:
            return Searcher.FINISHED if self.scheduler.finished else None
        self.handed_out += 1
        return {"job": dump(job)}

    def _check_nodes(self) -> None:
        """Nodes come and go: the scheduler plans for those present."""
        if self.room is None or time.monotonic() - self.looked < LOOK:
            return
        self.looked = time.monotonic()
        now = self.room()
        now, before = min(now, self.workers or now), self.view.workers
        if now != before:
            self.view.show_workers(now)
            self.view.print_line(
                f"the cluster's nodes changed: {now} jobs fit at once, {before} before"
            )
        self.scheduler.order.devices = max(1, now)

    def __getstate__(self) -> dict:
        """Tune writes a copy of this to disk for its own restore, which isn't used."""
        return {}

    def on_trial_result(self, trial_id: str, result: dict) -> None:
        """The Stopper, which Tune calls first, handles intermediate scores; this shows what was
        printed until then."""
        self._show_news()

    def _show_news(self) -> None:
        """Shows what workers had to warm up, and what methods printed there."""
        for trial_id, news in self.stopper.news:
            for line in news.pop("printed", ()):
                self.view.print_line(f"[{self._name(trial_id)}] {plain(line)}")
            self.view.warmed(**news)
        self.stopper.news.clear()

    def _name(self, trial_id: str) -> str:
        """`mine on digits, trial 3`."""
        if trial_id not in self.scheduler.in_flight:
            return "a job"
        cell, job = self.scheduler.in_flight[trial_id]
        numbers = job.seeds if isinstance(job, FinalJob) else [number for number, _ in job.points]
        what = ("seed" if isinstance(job, FinalJob) else "trial") + "s" * (len(numbers) > 1)
        return (
            f"{cell.planned.variant.label} on {cell.planned.card.name}, {what}"
            f" {', '.join(map(str, numbers))}"
        )

    def on_trial_complete(
        self, trial_id: str, result: dict | None = None, error: bool = False
    ) -> None:
        if self.stopper.fault is not None:
            return
        cell, _ = self.scheduler.in_flight[trial_id]
        with held(), self.stopper.recording_faults():  # what is finished reaches the store
            self._complete(trial_id, result)
        self.view.update(cell)

    def _complete(self, trial_id: str, result: dict | None) -> None:
        last = self.stopper.last.pop(trial_id, None)
        files = self.stopper.files.pop(trial_id, {})
        self._show_news()
        if result is not None and "outcomes" in result:
            outcomes = [self._with_file(outcome, files) for outcome in outcomes_of(result)]
            self._warn(trial_id, outcomes)
            self.scheduler.finish(trial_id, outcomes)
        elif result is not None and "error" in result:
            if result["error"].startswith(NODE):
                self.view.print_line(result["error"], once=True)
            self.scheduler.lose(trial_id, result["error"])
        elif trial_id in self.stopper.pruned and last is not None:
            curve = self.stopper.curves.pop(trial_id, {})
            self.scheduler.finish(
                trial_id,
                [Outcome(last["value"], curve, last["seconds"], last["units"])],
                pruned=True,
            )
        elif self.tune_scheduler is not None and trial_id in self.tune_scheduler.without_node:
            self.tune_scheduler.without_node.discard(trial_id)
            self.scheduler.lose(trial_id, f"{NODE} left the cluster")
        elif trial_id in self.scheduler.in_flight:
            self.scheduler.lose(
                trial_id,
                stored_reason(trial_id) or f"{DIED} (killed, or the machine ran out of memory)",
            )
        self.stopper.curves.pop(trial_id, None)

    def _warn(self, trial_id: str, outcomes: list[Outcome]) -> None:
        """Shows the runs' warnings, once per method."""
        cell, _ = self.scheduler.in_flight[trial_id]
        for outcome in outcomes:
            for warning in (outcome.extras or {}).get(WARNINGS, ()):
                self.view.print_line(f"Warning: {cell.planned.variant.label}: {warning}", once=True)

    def _with_file(self, outcome: Outcome, files: dict[str, bytes]) -> Outcome:
        """Saves a checkpoint that was sent along, and its path in the outcome's provenance."""
        noted = dict(outcome.provenance or {})
        data = files.get(noted.get("checkpoint", ""))
        if data is None or self.keep is None:
            return outcome
        return replace(
            outcome, provenance=noted | receive(self.keep, noted.pop("checkpoint"), data)
        )

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the store holds the state, and Tune's own restore isn't used."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class SchedulerStopper(Stopper):
    """Ends poor trials. Tune calls it for every result, before the Searcher."""

    def __init__(self, scheduler: Scheduler):
        self.scheduler = scheduler
        self.pruned: set[str] = set()
        self.last: dict[str, dict] = {}
        self.curves: dict[str, dict[int, float]] = {}
        self.news: list[tuple[str, dict]] = []
        """With the trial that sent it."""
        self.files: dict[str, dict[str, bytes]] = {}
        self.fault: BadInput | None = None
        """Ends everything, for example because the store has become unusable. Tune would take an
        exception for a trial's failure, and continue."""

    @contextmanager
    def recording_faults(self) -> Iterator[None]:
        try:
            yield
        except BadInput as error:
            self.fault = self.fault or error

    def __call__(self, trial_id: str, result: dict) -> bool:
        if news := result.pop(NEWS, None):
            self.news.append((trial_id, news))
        if files := result.pop(FILES, None):  # else Tune would keep them with the trial
            self.files[trial_id] = files
        if "value" not in result or trial_id not in self.scheduler.in_flight:
            return False
        self.last[trial_id] = result
        self.curves.setdefault(trial_id, {})[result["epoch"]] = result["value"]
        with self.recording_faults():
            if self.scheduler.report(trial_id, result["epoch"], result["value"]):
                self.pruned.add(trial_id)
                return True
        return False

    def __getstate__(self) -> dict:
        """As the Searcher's."""
        return {}

    def stop_all(self) -> bool:
        return self.fault is not None
