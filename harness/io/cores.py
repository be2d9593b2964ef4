"""How many of the machine's CPU cores this process may use, considering affinity masks and
container quotas; what its threads do while they wait; and which processor it is."""

import os
from contextlib import suppress
from pathlib import Path


def cores() -> int:
    """At least 1. Slurm and taskset set affinities; Docker, Kubernetes and systemd set quotas,
    which affinities don't show."""
    allowed = quota()
    return max(1, min(_usable(), int(allowed)) if allowed is not None else _usable())


def _usable() -> int:
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on
        return os.process_cpu_count() or 1  # type: ignore[attr-defined]
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota(
    groups: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")
) -> float | None:
    """CPU time, in cores, that this process's control group and those above allow; None without a
    limit.

    `groups` and `mount`: proc_pid_cgroup(5), and where the hierarchies are mounted; version 2 has
    `cpu.max`, version 1 `cpu.cfs_quota_us`.
    """
    try:
        lines = groups.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    limits = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (number, controllers) == ("0", ""):
            places = [mount, mount / "unified"]
        elif "cpu" in controllers.split(","):
            places = [mount / controllers, mount / "cpu"]
        else:
            continue
        inside = Path(path.lstrip("/"))
        for place in places:
            # a container may see its own group as the root
            for folder in (place / inside, *(place / above for above in inside.parents)):
                limits += _limits(folder)
    return min(limits, default=None)


def _limits(folder: Path) -> list[float]:
    with suppress(OSError, ValueError, ZeroDivisionError):
        most, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return [] if most == "max" else [int(most) / int(period)]
    with suppress(OSError, ValueError, ZeroDivisionError):
        most = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        return (
            [most / int((folder / "cpu.cfs_period_us").read_text(encoding="ascii"))]
            if most > 0
            else []
        )
    return []


def let_waiting_threads_sleep() -> None:
    """Unless the user has said otherwise: a thread of OpenMP that waits for others of its process
    sleeps. Called before torch is imported, for this process and those that it starts.

    By default such a thread spins for milliseconds: on a machine that other programs share, each of
    a step's hundreds of parallel parts then waits for a time slice of the scheduler. On an idle one
    spinning is faster for small models: `OMP_WAIT_POLICY=ACTIVE` asks for it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def processor(field: str, listed: Path = Path("/proc/cpuinfo")) -> str | None:
    """What Linux says of the first core, such as its "model name" or "vendor_id": proc_cpuinfo(5).
    None where it doesn't say."""
    with suppress(OSError), listed.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == field:
                return value.strip()
    return None
