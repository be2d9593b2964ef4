"""Machines that aren't as one's own: long folders for temporary files, no home, other users' files,
few cores, full disks."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import folder_task
import pytest
from places import REPOSITORY

from harness.io import cores, resources
from harness.store import Store

ANYBODY = (
    "setpriv",
    "--reuid=12345",
    "--regid=12345",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
)
"""As a user that /etc/passwd doesn't know; who may read all the same, so that Python may lie in
root's home."""

as_anybody = pytest.mark.skipif(
    os.geteuid() == 0 and not shutil.which("setpriv"), reason="root, and no setpriv to be another"
)


@pytest.fixture(scope="module")
def place(harness) -> Iterator[Path]:
    """A folder that everybody may read, after a run with a long folder for temporary files and a
    cache that nobody can write."""
    with tempfile.TemporaryDirectory() as made, pytest.MonkeyPatch.context() as patch:
        folder = folder_task.make(Path(made))
        folder.chmod(0o755)
        long = folder / ("long" * 20)
        long.mkdir()
        patch.setenv("TMPDIR", str(long))
        patch.setenv("VPT_HARNESS_CACHE", "/sys/vpt-harness")
        before = set(Path("/tmp").glob("vpt-ray-*"))
        flags = (
            "--cards",
            "cards",
            "--data-root",
            "data",
            "--protocol",
            "quick.toml",
            "--store",
            "a.db",
            "--workers",
            "1",
        )
        done = harness("run", "--methods", "linear,vpt", "--tasks", "squares", *flags, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        assert set(Path("/tmp").glob("vpt-ray-*")) <= before, "Ray's folder is removed"
        yield folder


def command(
    *words: str,
    cwd: Path,
    stdout: object = subprocess.PIPE,
    anybody: bool = False,
    **environment: str | None,
):
    """A command as it is in a process of its own. `anybody`: as a user without name and home, where
    this one may become it."""
    new = {
        **os.environ,
        **environment,
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [
            *(ANYBODY if anybody and os.geteuid() == 0 else ()),
            sys.executable,
            "-m",
            "harness",
            *words,
        ],
        cwd=cwd,
        stdout=stdout,  # type: ignore[arg-type]
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
        env={name: value for name, value in new.items() if value is not None},
    )


def test_a_long_folder_for_sockets_and_a_cache_that_cant_be_written(place: Path):
    assert len(Store(place / "a.db").results()) == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_without_our_characters(place: Path, encoding: str):
    done = command("report", "--store", "a.db", cwd=place, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "linear" in done.stdout
    assert done.stdout.isascii() == (encoding == "ascii")


def test_a_locale_that_cant_say_a_files_name(place: Path):
    done = command(
        *("data", "verify", "--tasks", "squares", "--cards", "cards", "--data-root", "d\u00e4ta"),
        **{
            "cwd": place,
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
            "LC_ALL": "C",
            "PYTHONIOENCODING": None,
        },  # type: ignore[arg-type]
    )
    assert done.returncode == 1
    assert "no folder d" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_device(place: Path):
    with open("/dev/full", "w") as full:
        for words in (("report", "--format", "csv"), ("report",), ("results", "list")):
            done = command(*words, "--store", "a.db", cwd=place, stdout=full)
            assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
            assert "No space left on device" in done.stderr
    done = command("report", "--format", "csv", "-o", "/dev/full", "--store", "a.db", cwd=place)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_a_device_may_be_an_output(place: Path):
    done = command("report", "--format", "csv", "-o", "/dev/stdout", "--store", "a.db", cwd=place)
    assert done.stdout == command("report", "--format", "csv", "--store", "a.db", cwd=place).stdout


@pytest.mark.parametrize(
    "words", [("report", "--format", "json"), ("report",), ("list", "tasks"), ("--help",)]
)
def test_a_pipe_that_nobody_reads(place: Path, words: tuple[str, ...]):
    read, write = os.pipe()
    os.close(read)
    done = command(
        *words, *(("--store", "a.db") if words[0] == "report" else ()), cwd=place, stdout=write
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


READERS = [
    ("report",),
    ("report", "--format", "json"),
    ("status",),
    ("compare", "vpt", "linear"),
    ("results", "list"),
    ("store", "check"),
    ("show", "{id}"),
    ("export", "{id}", "{out}/a.safetensors"),
    ("results", "export", "{out}/a.parquet"),
    ("report", "-o", "{out}/a.html"),
]


@as_anybody
@pytest.mark.parametrize("closed", ["the folder", "the file"])
def test_who_may_only_read_a_store_reads_it(place: Path, closed: str):
    """By a user without a home."""
    (file,) = place.glob("a.db")
    before, id = file.read_bytes(), Store(file).results()[0].id
    with tempfile.TemporaryDirectory() as out:
        os.chmod(out, 0o777)
        modes = {place: 0o555 if closed == "the folder" else 0o777, file: 0o444}
        kept = {path: path.stat().st_mode for path in modes}
        try:
            for path, mode in modes.items():
                path.chmod(mode)
            for words in READERS[::3] if closed == "the folder" else READERS[1::4]:
                asked = [word.format(id=id, out=out) for word in words]
                done = command(
                    *asked,
                    "--store",
                    "a.db",
                    cwd=place,
                    anybody=True,
                    HOME=None,
                    VPT_HARNESS_CACHE=None,
                    TMPDIR=out,
                )
                assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
            done = command(
                "results",
                "rm",
                id,
                "--yes",
                "--store",
                "a.db",
                cwd=place,
                anybody=True,
                HOME=None,
                TMPDIR=out,
            )
            assert done.returncode == 2
            assert "readonly" in done.stderr
            assert "Traceback" not in done.stderr
        finally:
            for path, mode in kept.items():
                path.chmod(mode)
    assert file.read_bytes() == before


@as_anybody
def test_a_user_without_a_home_has_a_cache(place: Path):
    words = ("data", "verify", "--tasks", "squares", "--cards", "cards", "--data-root", "data")
    done = command(
        *words, cwd=place, anybody=True, HOME=None, VPT_HARNESS_CACHE=None, TMPDIR="/tmp"
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_the_cache_of_nobody(monkeypatch: pytest.MonkeyPatch):
    def homeless(cls) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("VPT_HARNESS_CACHE")
    monkeypatch.setattr(Path, "home", classmethod(homeless))
    assert resources.cache_dir() == Path(tempfile.gettempdir()) / f"vpt-harness-{os.getuid()}"


def groups_in(folder: Path, lines: str, files: dict[str, str]) -> float | None:
    (folder / "cgroup").write_text(lines)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return cores.quota(folder / "cgroup", folder / "fs")


@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        ("0::/a/b\n", {"fs/a/b/cpu.max": "150000 100000\n"}, 1.5),
        (
            "0::/a/b\n",
            {
                "fs/a/b/cpu.max": "max 100000\n",
                "fs/a/cpu.max": "400000 100000\n",
                "fs/cpu.max": "800000 100000\n",
            },
            4.0,
        ),
        ("0::/../outside\n", {"fs/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/\n", {"fs/cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"fs/cpu.max": "nonsense\n"}, None),
        (
            "4:cpu,cpuacct:/d\n1:name=x:/d\n",
            {f"fs/cpu,cpuacct/d/cpu.cfs_{part}_us": "300000" for part in ("quota", "period")},
            1.0,
        ),
        (
            "4:cpu:/d\n",
            {"fs/cpu/cpu.cfs_quota_us": "50000", "fs/cpu/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        (
            "4:cpu:/\n",
            {"fs/cpu/cpu.cfs_quota_us": "-1", "fs/cpu/cpu.cfs_period_us": "100000"},
            None,
        ),
        (
            "4:cpuset:/\n",
            {"fs/cpu/cpu.cfs_quota_us": "100000", "fs/cpu/cpu.cfs_period_us": "100000"},
            None,
        ),
    ],
)
def test_a_containers_quota(
    tmp_path: Path, lines: str, files: dict[str, str], expected: float | None
):
    assert groups_in(tmp_path, lines, files) == expected


@pytest.mark.parametrize(("allowed", "expected"), [(None, 4), (0.5, 1), (2.9, 2), (64.0, 4)])
def test_the_cores_are_the_least_of_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, allowed: float | None, expected: int
):
    monkeypatch.setattr(cores, "quota", lambda: allowed)
    monkeypatch.setattr(cores, "_usable", lambda: 4)
    assert cores.cores() == expected


def test_an_affinity_counts():
    code = (
        "import os; os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1]); from"
        " harness.io.cores import cores; print(cores())"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "1\n"
    )
