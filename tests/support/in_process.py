"""A run in this process: the scheduler, and a trainer in a worker's place. No Ray."""

from harness.engine.jobs import Job, Outcome, TuneJob
from harness.engine.scheduler import Scheduler
from harness.engine.trainer import Trainer
from harness.planning.plan import RunPlan
from harness.store import Store
from harness.training.loop import Score


def fill(run: RunPlan, store: Store, trainer: Trainer | None = None) -> Scheduler:
    """Carries out a plan."""
    trainer = trainer or Trainer(run, threads=1)
    store.add_cells(cell.cell for cell in run.cells)
    scheduler, number = Scheduler(run, store), 0
    while not scheduler.finished:
        number += 1
        job = scheduler.next(f"{number}")
        assert job is not None
        *_, outcomes = trainer.run(job)
        assert isinstance(outcomes, list)
        assert len(outcomes) == (len(job.points) if isinstance(job, TuneJob) else len(job.seeds))
        scheduler.finish(f"{number}", outcomes)
    return scheduler


def outcomes(trainer: Trainer, job: Job) -> tuple[list[Score], list[Outcome]]:
    """Of a job that is carried out: its scores on the way, and what came of it."""
    *scores, last = trainer.run(job)
    return scores, last  # type: ignore[return-value]
