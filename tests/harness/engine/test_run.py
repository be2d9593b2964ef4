"""The whole engine on a task that takes seconds: real processes, a real Ray, a real store, real
signals."""

import json
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import pytest
from driving import rows, start, wait_for

from harness import api
from harness.errors import BadInput
from harness.store import Store

pytestmark = pytest.mark.timeout(400)


def test_a_run_costs_what_was_predicted_fills_every_cell_and_again_does_nothing(
    tiny, harness, tmp_path: Path
):
    tiny.protocol.write_text(
        tiny.protocol.read_text()
        .replace('"median"', '"none"')
        .replace("prompts = { choices = [2, 4] }", "")
    )
    methods = "linear,vpt-deep(prompts=2)"
    arguments = tiny.arguments("--workers", "2", methods=methods, tasks="toy,toy2")
    predicted = harness(*arguments, "--dry-run")
    assert not tiny.store.exists()
    table = [[part.strip() for part in line.split("│")] for line in predicted.stdout.splitlines()]
    total = next(row for row in table if row[1:2] == ["all"])

    first = harness(*arguments)
    assert first.returncode == 0, first.stderr
    assert set(rows(tiny.store)) == {
        (m, t, s)
        for m in ("linear", "vpt-deep(prompts=2)")
        for t in ("toy", "toy2")
        for s in (0, 1)
    }
    trials = Store(tiny.store).trials()
    assert len(trials) == 2 * 2 * 2
    assert "Warning" not in first.stdout + first.stderr
    before = (Store(tiny.store).results(), trials)
    counted = sum(trial.units for trial in trials) + sum(result.units for result in before[0])
    assert counted == int(total[4].replace(",", ""))
    assert counted == 2 * (18 + 12 + 30 + 15) + 2 * (
        2 * (2 * 2 * 18 + 2 * 12) + 2 * (2 * 2 * 30 + 15)
    )

    again = harness(*arguments, "--log-json", "/dev/full")
    assert again.returncode == 0, "a full disk costs the log, not the run"
    assert (Store(tiny.store).results(), Store(tiny.store).trials()) == before
    assert "starting Ray" not in again.stdout

    for id in (result.id for result in before[0]):
        assert (tiny.folder / "results.checkpoints" / f"{id}.safetensors").is_file()

    report = harness("report", "--store", str(tiny.store), "--format", "json")
    table = json.loads(report.stdout)
    wanted = {
        "method",
        "variant",
        "task",
        "suite",
        "backbone",
        "protocol",
        "metric",
        "mean",
        "std",
        "n",
        "params",
        "seconds",
        "ids",
    }
    assert len(table["rows"]) == 4
    assert all(
        wanted <= row.keys() and row["n"] == 2 and 0 <= row["mean"] <= 100 for row in table["rows"]
    )

    id = next(row["ids"][0] for row in table["rows"] if row["method"] == "vpt-deep")
    made_again = harness("reproduce", id, "--store", str(tiny.store))
    assert made_again.returncode == 0, made_again.stderr
    assert made_again.stdout.splitlines()[-1].startswith("equal: ")
    shown = json.loads(
        harness(
            "show", table["rows"][0]["ids"][0], "--store", str(tiny.store), "--format", "json"
        ).stdout
    )
    assert {"params", "seed", "identity", "provenance", "trials", "logits_sha256"} <= shown.keys()
    assert {"versions", "threads", "processor", "inputs"} <= shown["provenance"].keys()


@pytest.mark.slow
def test_another_seed_takes_the_search_that_is_there(tiny, harness):
    for seeds in ("0,1", "0,1,5"):
        done = harness(*tiny.arguments("--seeds", seeds, methods="linear,vpt-deep"))
        assert done.returncode == 0, done.stderr
        if seeds == "0,1":
            searched = Store(tiny.store).trials()
    assert Store(tiny.store).trials() == searched
    assert {place for place in rows(tiny.store) if place[2] == 5} == {
        ("linear", "toy", 5),
        ("vpt-deep", "toy", 5),
    }


@pytest.mark.slow
def test_tune_begins_anew_after_so_many_jobs_and_nothing_is_lost(tiny):
    code = f"""
from harness import run
from harness.engine import run as engine
engine.EXPERIMENT, engine.JOBS_EACH = 3, 0
found = run("linear,vpt-deep", tasks="toy", cards={str(tiny.cards)!r}, workers=2,
            protocol={str(tiny.protocol)!r}, store={str(tiny.store)!r}, backbone="mini_vit")
print(found.gaps, len(found.ids))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["0 4"], done.stdout + done.stderr
    assert done.stdout.count("starting workers ...\n") == 2, "six jobs: three, and three"
    assert len(Store(tiny.store).trials()) == 4


def test_a_store_that_cant_be_written_is_said_before_ray_is_started(
    tiny, never_ahead, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("harness.engine.run.connected", lambda *_: pytest.fail("Ray was started"))
    with pytest.raises(BadInput, match=r"^store /proc/.* can't be written: nothing can be made in"):
        api.run(
            *("linear", None, "toy"),
            cards=tiny.cards,
            protocol=tiny.protocol,
            store="/proc/folder/results.db",
        )


@pytest.mark.slow
def test_kill_9_of_the_driver_costs_the_trials_in_flight_and_nothing_else(tiny, harness):
    slow = ("--trials", "6")
    process = start(tiny, *slow, methods="vpt-deep,ivpt")
    wait_for(lambda: len(Store(tiny.store).trials()) >= 3)
    process.kill()
    process.wait()
    kept = Store(tiny.store).trials()
    done = harness(*tiny.arguments(*slow, methods="vpt-deep,ivpt"))
    assert done.returncode == 0, done.stderr
    store = Store(tiny.store)
    assert all(trial in store.trials() for trial in kept)
    for cell in store.cells():
        ended = [trial for trial in store.trials(cell) if trial.state != "failed"]
        assert len(ended) == 6
        numbers = sorted(trial.number for trial in kept if trial.cell == cell)
        # a trial in flight whose later one had ended leaves its number unused
        free = max(numbers, default=-1) + 1
        assert [trial.number for trial in ended] == [
            *numbers,
            *range(free, free + 6 - len(numbers)),
        ]
    assert set(rows(tiny.store)) == {(m, "toy", s) for m in ("vpt-deep", "ivpt") for s in (0, 1)}


def test_sigterm_ends_in_ten_seconds_with_143_and_the_store_whole(tiny):
    process = start(tiny, "--trials", "50", methods="vpt-deep")
    wait_for(lambda: len(Store(tiny.store).trials()) >= 2)
    process.terminate()
    started = time.monotonic()
    out = process.said(60)
    assert time.monotonic() - started < 10
    assert process.returncode == 143
    assert "resumes" in out
    assert "Traceback" not in out
    trials = Store(tiny.store).trials()
    assert f"0 results and {len(trials)} trials are saved in {tiny.store}." in out
    assert all(trial.state != "failed" for trial in trials)


BROKEN = """
from methods.vpt import VPTDeep


class Broken(VPTDeep):
    name = "broken"

    def forward(self, images, read):
        raise RuntimeError("no such luck")
"""

LOST_GPU = """
import os
from pathlib import Path

import torch
from torch import nn

from harness import Method

FIRST = Path(__file__).with_suffix(".pid")


class LostGPU(Method):
    name = "lost-gpu"
    summary = "in the process that runs it first, CUDA fails once and for all"

    def __init__(self, vit):
        super().__init__(vit)
        self.prompts = nn.Parameter(torch.zeros(1, vit.dim))

    def forward(self, images, read):
        try:
            with FIRST.open("x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            pass
        if FIRST.read_text() == str(os.getpid()):
            raise RuntimeError("CUDA error: device-side assert triggered\\nIt may be asynchronous.")
        return self.vit.run(self.vit.embed(images), read, [self.prompts] * self.vit.depth)
"""


def test_what_fails_is_a_gap_or_goes_to_another_worker_and_the_others_go_on(tiny, harness):
    """Every later call of a process whose GPU failed would fail: it mustn't be given other jobs."""
    broken, lost = tiny.folder / "broken.py", tiny.folder / "lost_gpu.py"
    broken.write_text(BROKEN)
    lost.write_text(LOST_GPU)
    methods = f"vpt-deep,{broken}:Broken,{lost}:LostGPU"
    done = harness(*tiny.arguments("--workers", "2", methods=methods))
    assert done.returncode == 3, done.stderr
    assert set(rows(tiny.store)) == {
        (name, "toy", seed) for name in ("vpt-deep", "lost-gpu") for seed in (0, 1)
    }
    store = Store(tiny.store)
    assert {failure.seed for failure in store.failures()} == {0, 1}
    assert all("RuntimeError: no such luck" in failure.reason for failure in store.failures())
    assert "no such luck" in done.stdout
    assert (
        f"2 of 6 results are missing: `harness results list --failed --store {tiny.store}` says"
        " why." in done.stdout
    )
    reasons = [trial.reason or "" for trial in store.trials() if trial.state == "failed"]
    assert sum("no such luck" in reason for reason in reasons) == 4
    (of_gpu,) = (reason for reason in reasons if "no such luck" not in reason)
    assert of_gpu.startswith(
        "the worker process died after an error of its GPU, CUDA error: device-side assert"
        " triggered ("
    )
    assert of_gpu.endswith("): an index or a label is out of range")
    assert "lost_gpu.py:" in of_gpu

    assert harness(*tiny.arguments("--seeds", "0", methods="vpt-deep")).returncode == 0, (
        "others' gaps are others'"
    )


@pytest.mark.slow
def test_an_ablation_goes_through_the_engine_and_again_does_nothing(tiny, harness):
    arguments = ["ablate", "--tasks", "toy", *tiny.arguments("--seeds", "0", "--trials", "1")[5:]]
    first = harness(*arguments)
    assert first.returncode == 0, first.stderr
    assert "missing" not in first.stdout
    assert len(rows(tiny.store)) == 6
    assert ("ivpt", "toy", 0) in rows(tiny.store)
    assert "Left out, da" in first.stdout
    again = harness(*arguments)
    assert again.returncode == 0
    assert "starting Ray" not in again.stdout
    assert len(rows(tiny.store)) == 6


def test_python_may_be_in_a_folder_with_a_space(tiny, tmp_path: Path):
    where = tmp_path / "my environment"
    venv.create(where, symlinks=True)
    (site,) = where.glob("lib/python*/site-packages")
    found = [str(Path(api.__file__).parents[1]), sysconfig.get_paths()["purelib"]]
    (site / "shared.pth").write_text("\n".join(found))
    command = [where / "bin" / "python", "-m", "harness", *tiny.arguments(methods="linear")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert set(rows(tiny.store)) == {("linear", "toy", 0), ("linear", "toy", 1)}
