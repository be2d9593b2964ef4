"""A driver without Ray, for tests that start many: the real scheduler, whose jobs take milliseconds
and are made up."""

import random
import time

from planned import good, planned, quality

from harness.engine import scheduler as schedulers
from harness.engine.jobs import TuneJob
from harness.engine.scheduler import Scheduler
from harness.planning.plan import RunPlan
from harness.store import Store


def plan_of(cells: int) -> RunPlan:
    """Searches of 6 trials and two seeds each."""
    made = tuple(planned(f"task{number}") for number in range(cells))
    return RunPlan(made, {}, tuple(cell.card.name for cell in made), None)


def drive_to_the_end(url: str, cells: int, seed: int) -> None:
    """Until all cells are done, whoever did them."""
    schedulers._LOOK = 0.2
    scheduler, draw, number = Scheduler(plan_of(cells), Store(url)), random.Random(seed), 0
    while not scheduler.finished:
        number += 1
        job = scheduler.next(f"{number}")
        time.sleep(draw.uniform(0.0, 0.03))
        if job is not None:
            points = (
                [params for _, params in job.points] if isinstance(job, TuneJob) else [job.params]
            )
            scheduler.finish(f"{number}", [good(quality(params)) for params in points])
    scheduler.close()
