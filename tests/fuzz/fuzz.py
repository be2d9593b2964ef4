"""Fuzzes everything that reads others' files: `make fuzz`, or `python tests/fuzz/fuzz.py --count
2000 --seed 1`.

Each input is a tiny good original that was broken by a seed, read through the public interface in a
child process with little memory and little time. Right outcomes: an error of ours in one line, the
same records, or others under another fingerprint. Wrong ones are listed with the seed that makes
them again (`--only 'NAME' --seed SEED --count 1`): any other exception, a crash, a hang, memory
taken, or other records under the same fingerprint.
"""

import argparse
import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
MEMORY = 1 << 31
"""Bytes of address space that a child may take beyond what its libraries have."""
TAKEN = 600_000_000
"""Bytes that one input may make resident."""
PATIENCE = 30.0
"""Seconds that one input may take; the machine may be busy."""
START = 120.0
"""Seconds that a child may take to read its libraries."""
FIRST = 120.0
"""Seconds that a reader's first input may take: its original is made, and read, before."""

RIGHT = ("refused", "same", "changed")
"""Outcomes: an error of ours; the original's records; others, under another fingerprint."""


@dataclass
class Tally:
    """What became of one target's inputs."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)
    """Seeds and what went wrong."""


def fuzz(names: Sequence[str], seeds: range, until: float | None = None) -> dict[str, Tally]:
    """Tries every seed on every target, until the clock (`time.monotonic`) says `until`."""
    found = {name: Tally() for name in names}
    left = [(name, seed) for seed in seeds for name in names]
    while left and (until is None or time.monotonic() < until):
        tried = list(_child(left, until))
        for name, seed, outcome, said in tried:
            found[name].outcomes[outcome] += 1
            if outcome not in RIGHT:
                found[name].faults.append((seed, f"{outcome}: {said}"))
        if not tried:
            break
        left = left[len(tried) :]
    return found


def table(found: dict[str, Tally]) -> str:
    """What became of all inputs, a line a reader, and below it the faults."""
    lines = [f"{'reader':<28}{'inputs':>8}{'our errors':>12}{'right answers':>15}{'faults':>8}"]
    sums = [0, 0, 0, 0]
    for name, tally in found.items():
        read = tally.outcomes["same"] + tally.outcomes["changed"]
        counts = [tally.outcomes.total(), tally.outcomes["refused"], read, len(tally.faults)]
        sums = [one + other for one, other in zip(sums, counts, strict=True)]
        lines.append(_line(name, counts))
    lines.append(_line("all", sums))
    return "\n".join(
        [
            *lines,
            *(
                f"FAULT {name} --seed {seed}: {said}"
                for name, tally in found.items()
                for seed, said in tally.faults
            ),
        ]
    )


def _line(name: str, counts: list[int]) -> str:
    return f"{name:<28}{counts[0]:>8,}{counts[1]:>12,}{counts[2]:>15,}{counts[3]:>8,}"


def _child(
    cases: list[tuple[str, int]], until: float | None
) -> Iterator[tuple[str, int, str, str]]:
    """Outcomes of these cases, in order, from one child, until it dies or is killed."""
    command = [sys.executable, str(HERE / "fuzz.py"), "--child"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONFAULTHANDLER": "",
        "OPENCV_LOG_LEVEL": "SILENT",
    }
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-", dir=_memory_disk()) as folder,
        subprocess.Popen(
            [*command, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        ) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            if not _answers(child, START):  # it has read the libraries
                raise RuntimeError(
                    "the child doesn't start: run tests/fuzz/fuzz.py --child FOLDER by hand"
                )
            child.stdout.readline()
            started: set[str] = set()
            for name, seed in cases:
                if until is not None and time.monotonic() > until:
                    return
                child.stdin.write(f"{json.dumps([name, seed])}\n")
                child.stdin.flush()
                # the first time, it makes the original
                patience = PATIENCE if name in started else FIRST
                started.add(name)
                if not _answers(child, patience):
                    yield name, seed, "hang", f"no end after {patience:.0f} s"
                    return
                line = child.stdout.readline()
                if not line:
                    yield name, seed, "crash", f"the interpreter ended with {child.wait()}"
                    return
                outcome, said = json.loads(line)
                yield name, seed, outcome, said
                if outcome == "memory":
                    return  # a fresh one has its own
        finally:
            child.kill()


def _answers(child: subprocess.Popen, seconds: float) -> bool:
    assert child.stdout is not None
    return bool(select.select([child.stdout], [], [], seconds)[0])


def _serve(folder: Path) -> None:
    """The child: reads cases, answers with outcomes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    _find_modules()
    warnings.simplefilter("ignore")
    from fuzz_faults import FAULTS
    from fuzz_targets import targets

    known, read = targets() | FAULTS, dict[str, tuple[str, str]]()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        name, seed = json.loads(line)
        if name not in read:
            read[name] = _read_original(known[name], folder / "originals" / name, folder / "whole")
        print(
            json.dumps(_try(known[name], folder / "originals" / name, read[name], seed, folder)),
            file=answers,
            flush=True,
        )


def _read_original(target, original: Path, whole: Path) -> tuple[str, str]:
    """Makes and reads the good one, and limits the memory to what is taken then and `MEMORY`
    more."""
    from fuzz_targets import cache_in

    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    original.mkdir(parents=True)
    cache_in(whole / "cache")
    target.make(original)
    # the second time, libraries are there and nothing is remembered of the first
    for _ in range(2):
        shutil.rmtree(whole, ignore_errors=True)
        _copy(original, whole)
        right = target.read(whole)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(
        resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, resource.RLIM_INFINITY)
    )
    return right


def _try(
    target, original: Path, right: tuple[str, str], seed: int, folder: Path
) -> tuple[str, str]:
    from fuzz_inputs import spoil
    from fuzz_targets import cache_in

    from harness.errors import BadInput

    case = folder / f"case-{seed}"
    _copy(original, case)
    cache_in(case / "cache")
    rng = random.Random(f"{target.name}/{seed}")
    said = spoil(case, sorted(path for path in case.rglob(target.only) if path.is_file()), rng)
    before = _resident(reset=True)
    try:
        found = target.read(case)
        outcome, more = ("same" if found == right else "changed"), ""
        if found[0] == right[0] and found[1] != right[1]:
            outcome, more = "silent", "other records under the same fingerprint"
    except BadInput as error:
        outcome, more = ("refused" if len(str(error).splitlines()) == 1 else "lines"), str(error)
    except BaseException as error:
        outcome, more = (
            "exception",
            f"{type(error).__name__}: {str(error)[:200]} at {_where(error)}",
        )
    taken = _resident() - before
    if taken > TAKEN:
        outcome, more = "memory", f"took {taken / 1e6:.0f} MB ({outcome}: {more})"
    shutil.rmtree(case, ignore_errors=True)
    return outcome, f"{more} [{said}]"


def _where(error: BaseException) -> str:
    """The last place in the harness that it came through."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "/harness/" in frame.filename and "/fuzz/" not in frame.filename
    ]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"


def _copy(original: Path, case: Path) -> None:
    """By hard links: what is broken is written anew."""
    shutil.copytree(original, case, copy_function=os.link, symlinks=True)


def _resident(reset: bool = False) -> int:
    """Bytes: the most since the last reset; or now, which is the reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmRSS:" if reset else "VmHWM:")[2].split()[0])


def _memory_disk() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _find_modules() -> None:
    root = HERE.parent.parent
    sys.path[:0] = [str(root), *(str(root / "tests" / name) for name in ("support", "fuzz"))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="after which no more is tried"
    )
    parser.add_argument("--count", type=int, default=2000, help="inputs a reader")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument(
        "--only", action="append", help="a reader, or the beginning of some; may come several times"
    )
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        _serve(asked.child)
        return 0
    _find_modules()
    from fuzz_targets import targets

    names = [
        name
        for name in targets()
        if not asked.only or any(name.startswith(start) for start in asked.only)
    ]
    found = fuzz(
        names, range(asked.seed, asked.seed + asked.count), time.monotonic() + asked.seconds
    )
    print(table(found))
    return int(any(tally.faults for tally in found.values()))


if __name__ == "__main__":
    sys.exit(main())
