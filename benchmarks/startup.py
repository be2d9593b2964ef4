"""Claims: a run whose results are all stored, and a list of the methods, are answered without
torch; Ray, started while torch is imported, is there sooner; and a worker that doesn't load torch's
compiler has its imports sooner.

    python benchmarks/startup.py [--repeats 3] [--imports 5] [--starts 3] [--json]

CPU seconds of commands, each in a process of its own: with the answers that the cache folder
keeps, and without them (the folder `answers` is removed before), which is what the same command
takes after any code was edited. Interleaved; medians. The store is the mini suite's, with made-up
scores.

CPU seconds of a worker's imports: without and with the compiler behind `torch.compile` left out
until it is asked for.

Seconds by the clock from a new run's command until it starts workers, when it is ended: with Ray
started as the plan begins, and when it is done.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = {
    "run, all stored": ("run",),
    "list methods": ("list", "methods"),
    "list backbones": ("list", "backbones"),
    "report": ("report",),
}
"""`report` keeps no answers: it is the floor of what reads a store."""
HARNESS = ("-m", "harness")
IMPORTS = {
    "without": ("-c", "import torch._dynamo, harness.engine.worker"),
    "with": ("-c", "import harness.engine.worker"),
}
"""What torchvision and optimizers import otherwise."""


def fill(store: Path) -> None:
    """What a run of the mini suite would have stored."""
    from harness.planning.plan import plan
    from harness.planning.request import Request
    from harness.store import Result, Store, Trial, result_id

    filled, planned = Store(store), plan(Request())
    trials, results = [], []
    for cell in planned.cells:
        point = {"base_lr": 1.0, "weight_decay": 0.01}
        for number in range(cell.trials):
            row = (cell.key, number, point, "complete", 60.0 + number, {15: 60.0}, None, 9.0, 2e5)
            trials.append(Trial(*row, {}))
        for seed in cell.seeds:
            score = 60.0 + int(result_id(cell.key, seed)[:4], 16) / 65536 * 20
            row = (result_id(cell.key, seed), cell.key, seed, point, score, 1, 1, "a" * 64, 9.0, 1)
            results.append(Result(*row, 2e5, {15: score}, {}, "2026-11-26"))
    filled.add([cell.cell for cell in planned.cells], trials, results)


def seconds(folder: Path, words: tuple[str, ...], code: tuple[str, ...] = HARNESS) -> float:
    """CPU seconds of a command and the processes that it waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *code, *words],
        cwd=folder,
        env={**os.environ, "VPT_HARNESS_CACHE": str(folder / "cache")},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(repeats: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, list[float]]] = {
        name: {"without": [], "with": []} for name in COMMANDS
    }
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "results").mkdir()
        fill(folder / "results" / "harness.db")
        seconds(folder, ("run",))  # fingerprints of the data
        for _ in range(repeats):
            for name, words in COMMANDS.items():
                shutil.rmtree(folder / "cache" / "answers", ignore_errors=True)
                found[name]["without"].append(seconds(folder, words))
                found[name]["with"].append(seconds(folder, words))
    medians = {
        name: {side: statistics.median(times) for side, times in sides.items()}
        for name, sides in found.items()
    }
    return {
        name: {**sides, "ratio": sides["without"] / sides["with"]}
        for name, sides in medians.items()
    }


def imports(repeats: int) -> dict[str, float]:
    found: dict[str, list[float]] = {side: [] for side in IMPORTS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            for side, code in IMPORTS.items():
                found[side].append(seconds(Path(folder), (), code))
    medians = {side: statistics.median(times) for side, times in found.items()}
    return {**medians, "ratio": medians["without"] / medians["with"]}


ONE_AFTER_THE_OTHER = """
import contextlib
import harness.engine.ray_session
harness.engine.ray_session.starting_ahead = lambda _: contextlib.nullcontext()
"""


def until_workers(ahead: bool) -> float:
    """Seconds by the clock, of a run that is new."""
    begin = "" if ahead else ONE_AFTER_THE_OTHER
    command = [sys.executable, "-c", f"{begin}from harness.cli.main import main; main()"]
    words = ("run", "--methods", "linear,vpt", "--tasks", "digits", "--store", "new.db")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run = subprocess.Popen(
            [*command, *words],
            cwd=folder,
            env={**os.environ, "VPT_HARNESS_CACHE": f"{folder}/cache"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert run.stdout is not None
        for line in run.stdout:
            if line.startswith("starting workers"):
                break
        took = time.perf_counter() - started
        run.send_signal(signal.SIGTERM)
        run.communicate()
        return took


def starts(repeats: int) -> dict[str, float]:
    found: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(repeats):
        for ahead in found:
            found[ahead].append(until_workers(ahead))
    without, ahead = (statistics.median(found[side]) for side in (False, True))
    return {"without": without, "with": ahead, "ratio": without / ahead}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--imports", type=int, default=5, help="of a worker; 0: none")
    parser.add_argument("--starts", type=int, default=3, help="new runs on each side; 0: none")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measured(given.repeats) if given.repeats else {}
    if given.imports:
        found["a worker's imports"] = imports(given.imports)
    if given.starts:
        found["until workers start"] = starts(given.starts)
    if given.json:
        print(json.dumps(found))
        return
    for name, row in found.items():
        without, with_it, ratio = row["without"], row["with"], row["ratio"]
        print(f"{name}: {without:.2f} s without, {with_it:.2f} s with: {ratio:.1f} x")


if __name__ == "__main__":
    main()
