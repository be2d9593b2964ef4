"""A run on a Ray cluster of several real nodes, all on this machine: they share the work, come, go,
and are kept to their resources."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from driving import (
    Driver,
    ended_points,
    finish,
    outage,
    part_of_ray,
    rows,
    start,
    wait_for,
    workers,
)
from raylets import Cluster, free_port

from harness.engine.cluster import answers
from harness.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MINE = """
import os, time
from methods.vpt import VPTDeep


class Slow(VPTDeep):
    name = "slow"

    def __init__(self, vit, prompts=4):
        super().__init__(vit, prompts)
        self.marked = False

    def forward(self, images, read):
        if not self.marked:
            with open({marks!r}, "a") as file:
                file.write(os.environ["NODE"] + "\\n")
            self.marked = True
        time.sleep({pause})
        return super().forward(images, read)


class Slower(Slow):
    name = "slower"
"""
"""Two methods that take their time, and leave a line for each training run: on which node it
was."""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with Cluster(tmp_path) as found:
        for name, value in found.token.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("RAY_TMPDIR", str(found.sockets))
        monkeypatch.setenv("NODE", "driver")
        yield found


def begin(tiny, cluster: Cluster, *more: str, pause: float = 0.1) -> Driver:
    mine = tiny.folder / "mine.py"
    mine.write_text(MINE.format(marks=str(tiny.folder / "marks.txt"), pause=pause))
    return start(tiny, "--address", cluster.address, *more, methods=f"{mine}:Slow,{mine}:Slower")


def runs_by_node(tiny) -> Counter[str]:
    marks = tiny.folder / "marks.txt"
    return Counter(marks.read_text().split()) if marks.exists() else Counter()


def whole(tiny) -> None:
    """Every final run is there once with its checkpoint, every point of both grids was tried
    once."""
    assert set(rows(tiny.store)) == {
        (method, "toy", seed) for method in ("slow", "slower") for seed in (0, 1)
    }
    assert Store(tiny.store).failures() == []
    tried = ended_points(tiny.store)
    assert len(tried) == 2 * 12
    assert set(tried.values()) == {1}
    for result in Store(tiny.store).results():
        place = tiny.folder / "results.checkpoints" / f"{result.id}.safetensors"
        assert result.provenance["checkpoint"] == str(place)
        assert place.is_file()


def warm_ups(out: str) -> dict[str, str]:
    """What was warmed up, by node."""
    return dict(re.findall(r"^Warmed up (\S+): (.*)\.$", out, re.MULTILINE))


def test_three_nodes_one_is_killed_one_joins_and_the_run_ends_complete(grid, cluster: Cluster):
    cluster.head(cpus=1)
    lost = cluster.join("lost")
    cluster.join("kept")
    process = begin(grid, cluster, pause=0.5)
    wait_for(lambda: {"head", "lost", "kept"} <= runs_by_node(grid).keys())
    with outage("one of three nodes lost", grid.store):
        lost.lose()
    cluster.join("new")
    wait_for(lambda: runs_by_node(grid)["new"] >= 2)
    out = finish(process)
    whole(grid)
    failed = [trial for trial in Store(grid.store).trials() if trial.state == "failed"]
    assert len(failed) <= 1  # what the lost node had in hand
    assert {trial.reason for trial in failed} <= {"its node left the cluster"}

    found = warm_ups(out)
    assert "fetched 2" not in out
    # the driver's node has it from the start,
    assert sum("mini_vit fetched 1 x" in line for line in found.values()) in (2, 3)
    assert len(found) in (3, 4)  # and the lost one may have died before it could tell
    # train, val, test: once a node
    assert all(re.search("[123] splits? decoded", line) for line in found.values())


def test_a_quarter_of_a_gpu_a_job_means_four_jobs_on_a_node_with_one(grid, cluster: Cluster):
    """A GPU that only Ray believes in: workers find none, and train on the CPU."""
    cluster.head(cpus=4)
    node = cluster.join("gpu", cpus=8, gpus=1)
    process, most = begin(grid, cluster, "--gpus-per-trial", "0.25", pause=0.4), 0
    while process.poll() is None:
        most = max(most, len(workers(node)))
        time.sleep(0.2)
    assert "4/4 workers busy" in finish(process)
    assert most == 4
    assert runs_by_node(grid).keys() == {"gpu"}
    whole(grid)


def test_workers_is_the_most_that_run_at_once_on_a_cluster(grid, cluster: Cluster):
    node = cluster.head(cpus=4)
    process, most = begin(grid, cluster, "--workers", "2", pause=0.05), 0
    while process.poll() is None:
        most = max(most, len(workers(node)))
        time.sleep(0.2)
    finish(process)
    assert most == 2
    whole(grid)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_cluster_whose_head_is_lost_ends_the_run_in_one_line_and_the_same_command_goes_on(
    grid, harness, cluster: Cluster, how
):
    """Its GCS is gone, or doesn't answer any more; all else is there, as where the driver is on
    another node."""
    head = cluster.head(cpus=2)
    process = begin(grid, cluster)
    wait_for(lambda: len(Store(grid.store).trials()) >= 2)
    head.send_signal(signal.SIGSTOP)  # its parent would else end all
    os.kill(part_of_ray(head, "gcs_server"), how)
    out = process.said(120)
    assert process.returncode == 2, out
    assert "harness: the Ray cluster at 127.0.0.1:" in out
    assert "the same command resumes" in out
    assert "Traceback" not in out
    before = Store(grid.store).trials()
    done = harness(
        *grid.arguments(
            "--workers",
            "2",
            methods=f"{grid.folder / 'mine.py'}:Slow,{grid.folder / 'mine.py'}:Slower",
        )
    )
    assert done.returncode == 0, done.stderr
    assert [trial for trial in Store(grid.store).trials() if trial in before] == before
    whole(grid)


def test_a_raylet_that_dies_under_the_driver_ends_the_run_in_one_line(grid, cluster: Cluster):
    head = cluster.head(cpus=2)
    process = begin(grid, cluster)
    wait_for(lambda: len(Store(grid.store).trials()) >= 2)
    head.lose()
    out = process.said(120)
    assert process.returncode == 2, out
    assert "harness: the Ray cluster at 127.0.0.1:" in out
    assert "Traceback" not in out


def test_a_node_with_other_files_is_passed_over_and_its_jobs_go_elsewhere(grid, cluster: Cluster):
    """A node in a mount namespace of its own, where the cards' folder is another machine's."""
    strange = grid.folder / "strange"
    shutil.copytree(grid.cards, strange)
    arrays = dict(np.load(strange / "toy.npz"))
    arrays["test_images"] = 255 - arrays["test_images"]
    np.savez(strange / "toy.npz", allow_pickle=False, **arrays)
    cluster.head(cpus=1)
    cluster.join("strange", wrapped=mounted(strange, grid.cards))
    out = finish(begin(grid, cluster, pause=0.4))
    whole(grid)
    assert runs_by_node(grid).keys() == {"head"}
    assert "task toy: its files differ from those on the driver's machine" in out
    reasons = {trial.reason for trial in Store(grid.store).trials() if trial.state == "failed"}
    assert reasons
    assert all(str(reason).startswith("its node ") for reason in reasons)


def test_a_node_that_shares_no_folder_with_the_driver_sends_checkpoints_back(
    grid, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
):
    """All it has in common is the code, the data and Ray's sockets: for checkpoints, cache and
    temporary files it has a disk of its own."""
    cluster.head(cpus=0)
    folders = [grid.folder / "results.checkpoints", grid.folder / "tmp"]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folders[1]))
    far = grid.folder / "far"
    far.mkdir()
    cluster.join("far", wrapped=tuple(part for folder in folders for part in mounted(far, folder)))
    out = finish(begin(grid, cluster, pause=0.05))
    assert runs_by_node(grid).keys() == {"far"}
    whole(grid)
    assert [path for path in far.rglob("*.safetensors")] == []
    assert out.count("mini_vit fetched 1 x") == 1


def mounted(source: Path, place: Path) -> tuple[str, ...]:
    """Before a command: it sees `source` at `place`. Skips where we may not."""
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("may not make mount namespaces")
    return (
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount --bind "$0" "$1" && shift && exec "$@"',
        str(source),
        str(place),
    )


def test_an_address_that_is_no_cluster_is_said_in_one_line(tiny, harness):
    done = harness(*tiny.arguments("--address", "127.0.0.1:1"))
    assert done.returncode == 2
    assert done.stderr.startswith("harness: no Ray cluster at 127.0.0.1:1: nothing listens there.")
    assert "Traceback" not in done.stderr


def test_ray_job_submit_puts_the_driver_on_the_cluster_which_ray_address_names(
    grid, cluster: Cluster
):
    """Needs the extra `[cluster]`: Ray's dashboard takes jobs."""
    pytest.importorskip("aiohttp", reason="pip install 'vpt-harness[cluster]'")
    slots, port = (os.cpu_count() or 1) + 1, free_port()
    cluster.head(
        slots,
        0,
        "--include-dashboard",
        "true",
        "--dashboard-host",
        "127.0.0.1",
        "--dashboard-port",
        str(port),
    )
    wait_for(lambda: answers(f"127.0.0.1:{port}"))
    submit = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "job",
        "submit",
        "--address",
        f"http://127.0.0.1:{port}",
        "--",
    ]
    command = [sys.executable, "-m", "harness", *grid.arguments(methods="vpt-deep,ivpt")]
    done = subprocess.run(
        [*submit, *command], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"/{slots} workers busy" in done.stdout
    assert set(rows(grid.store)) == {
        (method, "toy", seed) for method in ("vpt-deep", "ivpt") for seed in (0, 1)
    }
