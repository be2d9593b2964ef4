"""`harness run` as a process of its own that tests kill, wait for and look into: itself, its Ray,
its workers, its store."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.store import Store


class Driver(subprocess.Popen):
    """`harness run` in the background, as leader of its own process group.

    It prints to a file: Ray's agents outlive a killed driver by a minute, and would hold a pipe
    open.
    """

    def __init__(self, tiny, *more: str, **arguments: str):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
        command = [sys.executable, "-m", "harness", *tiny.arguments(*more, **arguments)]
        self.output = tiny.folder / f"output-{time.monotonic_ns()}.txt"
        with self.output.open("w") as file:
            super().__init__(
                command,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self, seconds: float = 240) -> str:
        """What it printed, once it has ended."""
        self.wait(seconds)
        return self.output.read_text()


OUTAGES: list[tuple[str, float]] = []
"""Faults, and the seconds until work went on: printed when the tests have ended."""


@contextmanager
def outage(fault: str, store: Path | str) -> Iterator[None]:
    """Its body deals a fault, and starts the command again where that ended it. Waits for a trial
    or run that comes through after it."""
    since = time.monotonic()
    yield
    found = Store(store)
    before = finished(found)
    wait_for(lambda: finished(found) > before, 400)
    found.close()
    OUTAGES.append((fault, time.monotonic() - since))


def finished(store: Store) -> int:
    """Trials and final runs that came through."""
    return sum(states.get("complete", 0) for states in store.trial_counts().values()) + len(
        store.runs(("id",))
    )


def start(tiny, *more: str, **arguments: str) -> Driver:
    return Driver(tiny, *more, **arguments)


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def rows(store: Path | str) -> dict[tuple[str, str, int], float]:
    """Score by (variant, task, seed); none of them twice."""
    found = Store(store)
    cells = found.cells()
    places = [
        (cells[r.cell].labels["variant"], cells[r.cell].identity["task"]["name"], r.seed, r.score)
        for r in found.results()
    ]
    assert len({place[:3] for place in places}) == len(places)
    return {place[:3]: place[3] for place in places}


def ended_points(store: Path | str) -> Counter:
    """How often each point of each cell's search has ended well: what a grid tries once."""
    ended = [trial for trial in Store(store).trials() if trial.state != "failed"]
    return Counter((trial.cell, *sorted(trial.params.items())) for trial in ended)


def below(process: subprocess.Popen) -> dict[int, str]:
    """All processes below `process`, those that live: their command lines by id."""
    parents, lines = {}, {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            state, parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            if state != "Z":
                parents[int(entry.name)] = int(parent)
                lines[int(entry.name)] = (
                    (entry / "cmdline")
                    .read_bytes()
                    .replace(b"\0", b" ")
                    .decode(errors="replace")
                    .strip()
                )
    found, old = {process.pid}, -1
    while len(found) != old:
        old = len(found)
        found |= {pid for pid, parent in parents.items() if parent in found}
    return {pid: lines[pid] for pid in sorted(found - {process.pid})}


def workers(process: subprocess.Popen) -> list[int]:
    """Those that train: Tune's actors."""
    return [
        pid
        for pid, line in below(process).items()
        if line.startswith(("ray::TrialActor", "ray::ResourceTrainable"))
    ]


def parts_of_ray(process: subprocess.Popen, name: str) -> list[int]:
    """`raylet` or `gcs_server`, as many as run."""
    return [
        pid for pid, line in below(process).items() if line.split(" ", 1)[0].endswith(f"/{name}")
    ]


def part_of_ray(process: subprocess.Popen, name: str) -> int:
    """The only one."""
    (found,) = parts_of_ray(process, name)
    return found


def kill(*pids: int) -> None:
    """kill -9, those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def finish(driver: Driver, seconds: float = 400) -> str:
    """What it printed, once it has ended well."""
    out = driver.said(seconds)
    assert driver.returncode == 0, out
    return out


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
