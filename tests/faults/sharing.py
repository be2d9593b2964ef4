"""A driver without Ray, for tests that start many: the real ledger, whose jobs take milliseconds and are made up."""

import random
import time

from test_ledger import good, planned, quality

from harness.orchestrate import ledger as ledgers
from harness.orchestrate.jobs import TuneJob
from harness.orchestrate.ledger import Ledger
from harness.plan import RunPlan
from harness.store import Store


def plan_of(cells: int) -> RunPlan:
    """Searches of 6 trials and two seeds each."""
    made = tuple(planned(f"task{number}") for number in range(cells))
    return RunPlan(made, {}, tuple(cell.card.name for cell in made), None)


def drive_to_the_end(url: str, cells: int, seed: int) -> None:
    """Until all cells are done, whoever did them."""
    ledgers._LOOK = 0.2
    ledger, draw, number = Ledger(plan_of(cells), Store(url)), random.Random(seed), 0
    while not ledger.finished:
        number += 1
        job = ledger.next(f"{number}")
        time.sleep(draw.uniform(0.0, 0.03))
        if job is not None:
            points = [params for _, params in job.points] if isinstance(job, TuneJob) else [job.params]
            ledger.finish(f"{number}", [good(quality(params)) for params in points])
    ledger.close()
