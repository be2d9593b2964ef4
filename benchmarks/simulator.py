"""A cluster that isn't there: the real scheduler, searcher and stopper, devices that only take
time, and a clock that jumps.

What a job takes follows from the protocol's cost (`harness.planning.cost`), the method's pace,
which the scheduler isn't told, and the point's own. Scores and failures are drawn from the job's
name alone, so that they don't depend on the order of work. Pruning is Optuna's, by them.
"""

import heapq
import json
import math
import random
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import product
from statistics import mean
from types import SimpleNamespace
from typing import Any, cast

from optuna.distributions import CategoricalDistribution, FloatDistribution

from harness.engine.jobs import FinalJob, Job, Outcome, TuneJob, parse
from harness.engine.policy import Policy
from harness.engine.scheduler import Scheduler
from harness.engine.trainer import WARM_TASKS
from harness.engine.tune import SchedulerSearcher, SchedulerStopper
from harness.planning import protocols
from harness.planning.cell import PlannedCell
from harness.planning.plan import RunPlan
from harness.planning.protocols import Protocol
from harness.planning.variant import Variant
from harness.store import Cell, Store, cell_key
from harness.tasks.cards import load_cards, load_suites
from methods.linear import Linear
from methods.vpt import VPTDeep

FAILURES = 0.02
"""Share of jobs that die."""


def comparison(methods: int, trials: int, settings: int = 1) -> RunPlan:
    """`methods` x the 24 tasks under the default protocol, in so many settings (backbones, say).

    One method is the linear probe, whose features are computed once.
    """
    cards = [load_cards()[name] for name in load_suites()["all"].tasks]
    protocol = protocols.load("default", trials)
    space = {
        "base_lr": FloatDistribution(0.05, 50.0, log=True),
        "weight_decay": CategoricalDistribution((0.01, 0.001, 0.0001, 0.0)),
        "prompts": CategoricalDistribution((10, 50)),
    }
    cells = []
    for card in cards:
        for number, setting in product(range(methods), range(settings)):
            method = VPTDeep if number else Linear
            variant = Variant(method, f"method{number}", {}, "simulated")
            identity = {"method": number, "task": card.name, "setting": setting}
            cell = Cell(cell_key(identity), identity, {"variant": variant.label})
            mine = (
                dict(space)
                if number
                else {name: space[name] for name in ("base_lr", "weight_decay")}
            )
            cells.append(
                PlannedCell(
                    cell, card, None, "", variant, "vit", protocol, mine, protocol.seeds, {}
                )
            )
    return RunPlan(tuple(cells), {}, tuple(card.name for card in cards), None)


@dataclass
class Piece:
    """A job as it went."""

    job: Job
    task: str
    device: int
    start: float
    end: float = math.inf
    others: int = 0
    """Trials of the same search in flight when it began."""
    failed: bool = False


@dataclass
class Course:
    """A run as it went."""

    plan: RunPlan
    devices: int
    pieces: list[Piece] = field(default_factory=list)

    @property
    def work(self) -> float:
        return sum(piece.end - piece.start for piece in self.pieces)

    @property
    def makespan(self) -> float:
        return max(piece.end for piece in self.pieces)


class Cluster:
    """Devices that carry out jobs in simulated time. A free one asks at once; which of several free
    ones goes first is drawn."""

    def __init__(
        self, plan: RunPlan, devices: int, order: type[Policy] = Policy, failures: float = FAILURES
    ):
        store = Store("sqlite://")
        store.add_cells([cell.cell for cell in plan.cells])
        self.scheduler = Scheduler(plan, store, order)
        self.scheduler.order.devices = devices
        self.cells = {cell.key: cell for cell in plan.cells}
        self.stopper = SchedulerStopper(self.scheduler)
        self.searcher = SchedulerSearcher(
            self.scheduler, self.stopper, cast("Any", SimpleNamespace(update=lambda cell: None))
        )
        self.course = Course(plan, devices)
        self.failures = failures
        self.tries: Counter[tuple] = Counter()
        self.events: list[tuple[float, int, str, dict[str, Any] | None]] = []
        self.steps: dict[str, Iterator[tuple[float, dict[str, Any] | None]]] = {}

    def run(self) -> Course:
        draw, free, now, count = random.Random(0), list(range(self.course.devices)), 0.0, 0
        while True:
            while free:
                name = f"trial{count}"
                suggested = self.searcher.suggest(name)
                if not isinstance(suggested, dict):
                    break
                count += 1
                device = free.pop(draw.randrange(len(free)))
                self._start(name, parse(suggested["job"]), device, now)
            if not self.events:
                break
            now, number, name, result = heapq.heappop(self.events)
            if result is not None and "outcomes" not in result and not self.stopper(name, result):
                self._next(name, number, self.course.pieces[number].start)
                continue
            self.searcher.on_trial_complete(name, result, error=result is None)
            piece = self.course.pieces[number]
            piece.end, piece.failed = now, result is None
            free.append(piece.device)
        assert suggested == self.searcher.FINISHED, "the scheduler has work that it doesn't give"
        return self.course

    def _start(self, name: str, job: Job, device: int, now: float) -> None:
        cell = self.cells[job.cell]
        scheduler, _ = self.scheduler.in_flight[name]
        number = len(self.course.pieces)
        self.course.pieces.append(
            Piece(
                job,
                cell.card.name,
                device,
                now,
                others=scheduler.open - 1 if isinstance(job, TuneJob) else 0,
            )
        )
        self.steps[name] = self._going(cell, job)
        self._next(name, number, now)

    def _next(self, name: str, number: int, start: float) -> None:
        after, result = next(self.steps[name])
        heapq.heappush(self.events, (start + after, number, name, result))

    def _going(self, cell: PlannedCell, job: Job) -> Iterator[tuple[float, dict[str, Any] | None]]:
        """What the device says and when, in seconds from the job's start; None where it dies."""
        what = (
            ("trial", *(number for number, _ in job.points))
            if isinstance(job, TuneJob)
            else ("final", *job.seeds)
        )
        self.tries[job.cell, what] += 1
        draw = random.Random(f"{job.cell}/{what}/{self.tries[job.cell, what]}")
        dies = draw.random() if draw.random() < self.failures else None
        pace = pace_of(cell.variant) * draw.uniform(0.9, 1.1)
        train, val, test = (cell.card.sizes[split] for split in ("train", "val", "test"))
        epochs = epochs_of(cell)
        if cell.constant_features:
            images = train + val + (0 if isinstance(job, TuneJob) else test)
            steps = [(epochs, images)]
        elif isinstance(job, FinalJob):
            steps = [(epochs, 2 * (train + val) * epochs + test)]
        else:
            pace *= 1.2 if job.points[0][1].get("prompts") == 50 else 1.0
            steps = [
                (epoch, 2 * train * epoch + val * reading)
                for reading, epoch in enumerate(cell.protocol.score_at(), 1)
            ]
        curve, whole = {}, steps[-1][1] * pace
        params = job.points[0][1] if isinstance(job, TuneJob) else job.params
        for epoch, units in steps:
            if dies is not None and units * pace > dies * whole:
                yield dies * whole, None
            curve[epoch] = value = score(cell, params, epoch, draw)
            if epoch < epochs:
                yield (
                    units * pace,
                    {
                        "epoch": epoch,
                        "value": value,
                        "units": float(units),
                        "seconds": units * pace,
                    },
                )
        each = [Outcome(value, curve, whole / job.runs, steps[-1][1] / job.runs)] * job.runs
        yield whole, {"outcomes": json.dumps([asdict(outcome) for outcome in each])}


def pace_of(variant: Variant) -> float:
    """Seconds a forward-image unit, between 0.5 and 2."""
    return 2 ** random.Random(variant.name).uniform(-1, 1)


def epochs_of(cell: PlannedCell) -> int:
    return cast("Protocol", cell.protocol).epochs


def score(cell: PlannedCell, params: dict[str, Any], epoch: int, draw: random.Random) -> float:
    """On val, in percent: best at a learning rate that is the method's own, nearer to its end with
    every epoch."""
    best = random.Random(f"{cell.variant.name}").uniform(-1, 1.5)
    end = 80 - 8 * abs(math.log10(params["base_lr"]) - best)
    return end * (1 - 0.5 * math.exp(-epoch / epochs_of(cell) * 4)) + draw.gauss(0, 0.5)


def figures(course: Course) -> dict[str, float]:
    """What a run came to. Times in the simulation's seconds."""
    protocol, ends, devices = course.plan.cells[0].protocol, course.makespan, course.devices
    few = few_of(cast("Protocol", protocol))
    by_cell: dict[str, list[Piece]] = defaultdict(list)
    for piece in course.pieces:
        by_cell[piece.job.cell].append(piece)
    chain, patient = (
        max(chain_of(pieces, at_once) for pieces in by_cell.values()) for at_once in (None, few)
    )
    bound = max(course.work / devices, chain)
    trials = [
        piece for piece in course.pieces if isinstance(piece.job, TuneJob) and piece.job.runs == 1
    ]
    full = max((piece.start for piece in course.pieces), default=0.0)
    done = sorted(max(piece.end for piece in pieces) for pieces in by_cell.values())
    switches, cold = locality(course)
    return {
        "devices": devices,
        "jobs": len(course.pieces),
        "failed": sum(piece.failed for piece in course.pieces),
        "work": course.work,
        "makespan": ends,
        "utilisation": course.work / devices / ends,
        "bound_work": course.work / devices,
        "bound_chain": chain,
        "bound_chain_few_at_once": patient,
        "of_the_bound": bound / ends,
        "tail": 1 - full / ends,
        "half_done": done[len(done) // 2] / ends,
        "wide_trials": sum(piece.others >= few for piece in trials) / len(trials),
        "others_in_flight": mean(piece.others for piece in trials),
        "tasks_open": tasks_open(course),
        "switches_per_job": switches / len(course.pieces),
        "cold_per_device": cold / devices,
    }


def few_of(protocol: Protocol) -> int:
    return max(1, (protocol.trials or 1) // 5)


def chain_of(pieces: list[Piece], at_once: int | None) -> float:
    """The least time a cell takes on any number of devices: a point and its retry, then a final run
    and its retry.

    With `at_once`, its search has no more trials than so many in flight, and takes their whole time
    divided by it, if that is longer.
    """
    points, seeds = defaultdict(float), defaultdict(float)
    for piece in pieces:
        seconds = piece.end - piece.start
        if isinstance(piece.job, TuneJob):
            points[json.dumps(piece.job.points[0][1])] += seconds
        else:
            seeds[piece.job.seeds[:1]] += seconds
    search = max(points.values(), default=0.0)
    if at_once is not None:
        search = max(search, sum(points.values()) / at_once)
    return search + max(seeds.values(), default=0.0)


def locality(course: Course) -> tuple[int, int]:
    """Jobs of another task than their device's last, and jobs whose data weren't among those that a
    worker keeps."""
    last: dict[int, str] = {}
    warm: dict[int, OrderedDict[tuple, None]] = defaultdict(OrderedDict)
    switches = cold = 0
    for piece in sorted(course.pieces, key=lambda piece: piece.start):
        switches += last.get(piece.device, piece.task) != piece.task
        last[piece.device] = piece.task
        kept, key = warm[piece.device], (type(piece.job), piece.task)
        cold += key not in kept
        kept[key] = None
        kept.move_to_end(key)
        if len(kept) > 4 * WARM_TASKS:
            kept.popitem(last=False)
    return switches, cold


def tasks_open(course: Course) -> float:
    """Tasks with a job in flight, the mean over time."""
    changes = sorted(
        [(p.start, 1, p.task) for p in course.pieces] + [(p.end, -1, p.task) for p in course.pieces]
    )
    running: Counter[str] = Counter()
    before = total = 0.0
    for time, change, task in changes:
        total += (time - before) * sum(count > 0 for count in running.values())
        running[task] += change
        before = time
    return total / course.makespan
