"""A run under fire: random faults from a seeded schedule, until so many were dealt; every store
ends as an unbroken run's.

Rounds of one small run (a grid of 12 points, 3 methods, 2 seeds). In each a driver is started and
hit again and again: a worker, the driver, Ray's raylet or everything killed, SIGTERM, Ctrl-C. Most
wait until something has finished since the last one, so that there is progress; and no point is
killed four times in one run, after which it would be a gap. Whoever ended the driver starts the
same command again. After a round the store is held against an unbroken run's: one row a cell and
seed, equal number by number (score, point, logits), every point of the grid tried to its end once,
and no fault found by `harness store check`.
"""

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from driving import Driver, below, ended_points, finished, kill, parts_of_ray, start, workers

from harness.engine.ray_session import STUCK
from harness.store import Store
from harness.store.check import check

METHODS = "vpt-deep,ivpt,ivpt(ar=false)"
ROWS, POINTS = 3 * 2, 3 * 12
FAULTS = {"a worker": 75, "the driver": 6, "raylet": 4, "everything": 4, "SIGTERM": 6, "Ctrl-C": 5}
"""What is hit, and how often of a hundred times."""

PATIENCE = 600
"""Seconds in which a driver that isn't hit must end."""


@dataclass
class Tally:
    """What was dealt, and what it cost."""

    dealt: Counter = field(default_factory=Counter)
    rounds: int = 0
    drivers: int = 0
    trials_lost: int = 0
    """In flight, and stored as failed."""
    seconds_to_end: list[float] = field(default_factory=list)
    """From SIGTERM or Ctrl-C to the end of the process."""


def measured(store: Path) -> dict[tuple, tuple]:
    found = Store(store)
    cells = found.cells()
    return {
        (cells[row.cell].labels["variant"], row.seed): (
            row.score,
            json.dumps(row.params, sort_keys=True),
            row.logits_sha256,
            row.curve,
        )
        for row in found.results()
    }


def strike(driver: Driver, what: str, tally: Tally) -> bool:
    """Deals a fault, once what it hits is there. Whether it came to that before the driver
    ended."""
    parts: dict[str, Callable[[], list[int]]] = {
        "a worker": lambda: workers(driver),
        "raylet": lambda: parts_of_ray(driver, "raylet"),
    }
    if what in parts:
        while not (there := parts[what]()):
            time.sleep(0.1)
            if driver.poll() is not None:
                return False
        kill(random.choice(there))
    elif what == "the driver":
        kill(driver.pid)
    elif what == "everything":
        kill(driver.pid, *below(driver))
    else:
        driver.send_signal(signal.SIGTERM if what == "SIGTERM" else signal.SIGINT)
        since = time.monotonic()
        driver.wait(60)
        if driver.returncode not in (0, 130, 143):
            raise AssertionError(driver.output.read_text())
        tally.seconds_to_end.append(time.monotonic() - since)
    return True


def failed_of(store: Store) -> Counter:
    """How often each point was killed."""
    return Counter(
        (trial.cell, str(trial.params)) for trial in store.trials() if trial.state == "failed"
    )


def round_of(tiny, faults: int, schedule: random.Random, tally: Tally) -> None:
    """One run to its end, with at most so many faults."""
    left, store = faults, Store(tiny.store)
    while True:
        driver = start(tiny, "--workers", "2", methods=METHODS)
        tally.drivers += 1
        try:
            before_it = failed_of(store)
            while left and driver.poll() is None:
                before, until = finished(store), time.monotonic() + schedule.uniform(0.5, 3.0)
                patient = schedule.random() < 0.8
                while driver.poll() is None and (
                    time.monotonic() < until
                    or not parts_of_ray(driver, "raylet")
                    or (patient and finished(store) == before)
                ):
                    time.sleep(0.2)
                what = schedule.choices(list(FAULTS), list(FAULTS.values()))[0]
                failed = failed_of(store)
                if what == "a worker" and max((failed - before_it).values(), default=0) >= 3:
                    what = "the driver"
                if driver.poll() is None and strike(driver, what, tally):
                    tally.dealt[what] += 1
                    left -= 1
                    noticed = time.monotonic() + 10
                    while (
                        what == "a worker" and driver.poll() is None and time.monotonic() < noticed
                    ):
                        if failed_of(store) != failed:
                            break
                        time.sleep(0.2)
            driver.wait(PATIENCE)
        finally:
            with suppress(ProcessLookupError):
                driver.kill()
            driver.wait()
        if driver.returncode == 0:
            break
        if (
            driver.returncode not in (-signal.SIGKILL, 130, 143)
            and STUCK not in driver.output.read_text()
        ):
            raise AssertionError(
                f"a driver ended with {driver.returncode}:\n{driver.output.read_text()}"
            )
    tally.rounds += 1


def soak(make: Callable[[], Any], faults: int, seed: int = 0) -> Tally:
    """`make()` gives a folder with a grid and no store. Raises AssertionError where a store isn't
    what an unbroken run leaves."""
    whole, tally, schedule = make(), Tally(), random.Random(seed)
    random.seed(seed)
    assert start(whole, "--workers", "2", methods=METHODS).wait(PATIENCE) == 0
    wanted = measured(whole.store)
    assert len(wanted) == ROWS
    while (dealt := sum(tally.dealt.values())) < faults:
        tiny = make()
        round_of(tiny, faults - dealt, schedule, tally)
        store = Store(tiny.store)
        assert measured(tiny.store) == wanted, (measured(tiny.store), wanted)
        assert len(store.results()) == ROWS
        assert store.failures() == []
        tried = ended_points(tiny.store)
        assert (len(tried), set(tried.values())) == (POINTS, {1}), tried
        found = check(store)
        assert found.faults == [], found.faults
        assert store.leases() == []
        tally.trials_lost += sum(trial.state == "failed" for trial in store.trials())
        print(
            f"round {tally.rounds}: {sum(tally.dealt.values())} faults, {tally.drivers} drivers,"
            f" {tally.trials_lost} trials lost",
            flush=True,
        )
    return tally
