"""Plans of cells that need neither data nor training, and one worker that scores points by a
formula."""

import hashlib

from optuna.distributions import CategoricalDistribution, FloatDistribution

from harness.engine.jobs import Outcome, TuneJob
from harness.engine.scheduler import Scheduler
from harness.planning.cell import PlannedCell
from harness.planning.plan import RunPlan
from harness.planning.protocols import Protocol
from harness.planning.variant import Variant
from harness.store import Cell, Store
from harness.tasks.cards import TaskCard
from harness.training.method import Method
from methods.vpt import VPTDeep

CARD = {
    "name": "toy",
    "title": "toy",
    "suite": "mine",
    "group": "toy",
    "kind": "classification",
    "classes": 3,
    "sizes": {"train": 8, "val": 4, "test": 6},
    "reader": {"format": "arrays", "file": "toy.npz"},
    "pixels": "pil",
    "metric": "top1",
    "source": "generated",
    "licence": "none",
    "citation": "none",
}
TPE = Protocol(
    name="tiny",
    title="tiny",
    optimizer="sgd",
    epochs=6,
    warmup_epochs=1,
    batch_size=4,
    seeds=(0, 1),
    sampler="tpe",
    trials=6,
    pruner="median",
    score_every=2,
    space={
        "base_lr": {"low": 0.1, "high": 10.0, "log": True},
        "weight_decay": {"choices": [0.0, 0.1]},
    },  # type: ignore[dict-item]
)
GRID = TPE.model_copy(update={"sampler": "grid", "trials": None, "pruner": "none"})
GRID_SPACE = {
    "base_lr": CategoricalDistribution((3.0, 1.0)),
    "weight_decay": CategoricalDistribution((0.0, 0.1)),
}
TPE_SPACE = {
    "base_lr": FloatDistribution(0.1, 10.0, log=True),
    "weight_decay": CategoricalDistribution((0.0, 0.1)),
}


def planned(
    task: str = "toy",
    method: type[Method] = VPTDeep,
    protocol: Protocol = TPE,
    space=None,
    seeds=(0, 1),
) -> PlannedCell:
    key = hashlib.sha256(f"{task}/{method.name}".encode()).hexdigest()
    cell = Cell(key, {"task": {"name": task}}, {"variant": method.name})
    space = TPE_SPACE if space is None else space
    card = TaskCard(**{**CARD, "name": task})
    return PlannedCell(
        cell,
        card,
        None,
        "f" * 64,
        Variant(method, method.name, {}, method.name),
        "vit",
        protocol,
        space,
        tuple(seeds),
        {},
    )


def plan(*cells: PlannedCell) -> RunPlan:
    return RunPlan(
        cells or (planned(),),
        {},
        tuple(dict.fromkeys(cell.card.name for cell in cells or (planned(),))),
        None,
    )


def quality(params: dict) -> float:
    return 50.0 - abs(params.get("base_lr", 1.0) - 2.0)


def good(score: float = 50.0) -> Outcome:
    return Outcome(
        score,
        {6: score},
        1.0,
        10.0,
        trainable=5,
        head_params=3,
        logits_sha256="a" * 64,
        memory=1,
        provenance={"threads": 1},
    )


def bad(reason: str = "ValueError: no") -> Outcome:
    return Outcome(None, {}, 1.0, 0.0, reason)


def begin(run: RunPlan, store: Store) -> Scheduler:
    for cell in run.cells:
        store.add_cell(cell.cell)
    return Scheduler(run, store)


def drive(scheduler: Scheduler, stop_after: int = 10_000) -> list:
    """One worker that scores every point by `quality`."""
    jobs = []
    while not scheduler.finished and len(jobs) < stop_after:
        job = scheduler.next(f"job{len(jobs)}")
        assert job is not None
        points = [params for _, params in job.points] if isinstance(job, TuneJob) else [job.params]
        scheduler.finish(f"job{len(jobs)}", [good(quality(params)) for params in points])
        jobs.append(job)
    scheduler.close()  # so that the next one need not wait until its leases expire
    return jobs
