"""Events: whole lines in a file, whatever happens to it; and what a scheduler tells, alone and
beside another driver."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from places import REPOSITORY

import harness.engine.scheduler
from harness.engine.events import Events, Log, Traces
from harness.engine.jobs import Outcome, TuneJob
from harness.engine.run import _logging_the_end
from harness.engine.scheduler import Scheduler
from harness.engine.signals import Interrupted
from harness.errors import BadInput
from harness.planning.plan import RunPlan, plan
from harness.planning.request import Request
from harness.store import Store

DOCUMENT = REPOSITORY / "docs" / "watching.md"


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_an_event_is_a_line_with_its_times_and_what_is_known(tmp_path: Path):
    file = tmp_path / "new" / "log.jsonl"
    events = Events(Log(file))
    events.emit("trial", cell="c", trial=3, value=None, reason="a\nb é\udc80")
    (line,) = lines(file)
    assert line.pop("time").endswith("+00:00")
    assert line.pop("seconds") >= 0
    assert line == {
        "run": events.run,
        "event": "trial",
        "cell": "c",
        "trial": 3,
        "reason": "a\nb é\udc80",
    }


def test_a_second_run_appends_under_a_name_of_its_own(tmp_path: Path):
    for _ in range(2):
        Events(Log(tmp_path / "log")).emit("ended")
    one, two = lines(tmp_path / "log")
    assert one["run"] != two["run"]


def test_without_a_file_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Traces().events().emit("ended")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "log"):
        with pytest.raises(BadInput, match=r"^--log-json .* can't be written"):
            Traces(log_json=path).events()


def test_a_full_disk_costs_the_line_and_says_so_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    events = Events(Log(Path("/dev/full")))
    events.emit("ended")
    file, write, room = tmp_path / "log", os.write, [10**6, 10, 0, 0, 10**6, 10**6]

    def short(to: int, line: bytes) -> int:
        left = room.pop(0)
        if left == 0:
            raise OSError(28, "No space left on device")
        return write(to, line[:left])

    events = Events(Log(file))
    monkeypatch.setattr(os, "write", short)
    for number in range(5):
        events.emit("reading", epoch=number)
    found = file.read_text().splitlines()
    assert [json.loads(found[i]).get("epoch") for i in (0, -1)] == [0, 4]
    assert json.loads(found[-2])["lines"] == 3
    assert len(found) == 4, "and the line that was cut"


def test_a_line_that_an_earlier_run_left_cut_spoils_none_of_ours(tmp_path: Path):
    file = tmp_path / "log"
    file.write_text('{"event": "read')
    Events(Log(file)).emit("ended")
    assert [line["event"] for line in map(json.loads, file.read_text().splitlines()[1:])] == [
        "ended"
    ]


class Heard:
    """A scheduler's events."""

    def __init__(self, run: RunPlan, store: Store):
        self.all: list[dict[str, Any]] = []
        self.scheduler = Scheduler(run, store, events=Events(self.all.append))

    def kinds(self) -> list[str]:
        return [event["event"] for event in self.all]

    def only(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.all if event["event"] == kind]

    def work(self, outcome: Outcome | None = None, at_most: int = 100) -> None:
        for number in range(at_most):
            job = self.scheduler.next(f"j{number}")
            if job is None:
                return
            if isinstance(job, TuneJob) and len(job.points) == 1:
                self.scheduler.report(f"j{number}", 1, 40.0)
            self.scheduler.finish(f"j{number}", [outcome or GOOD] * job.runs)


GOOD = Outcome(
    50.0,
    {2: 50.0},
    1.0,
    10.0,
    trainable=5,
    head_params=3,
    logits_sha256="a" * 64,
    memory=1,
    provenance={},
)
BAD = Outcome(None, {}, 1.0, 0.0, "ValueError: no")


@pytest.fixture
def run(tiny, store: Store) -> RunPlan:
    """Two trials and two final runs of one cell, which is in the store."""
    found = plan(Request("vpt-deep", None, "toy", None, str(tiny.protocol), None, tiny.cards))
    store.add_cells(cell.cell for cell in found.cells)
    return found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results.db")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.engine.scheduler, "_LOOK", 0.0)


def test_a_ledger_tells_all_it_does_once_it_is_stored(run: RunPlan, store: Store):
    heard = Heard(run, store)
    heard.work()
    assert heard.kinds() == [
        "leased",
        *["job", "reading", "trial"] * 2,
        *["job", "result"] * 2,
        "finished",
    ]
    (one, two), (first, second) = heard.only("trial"), heard.only("job")[2:]
    assert [
        (trial["trial"], trial["state"], trial["value"], trial["curve"]) for trial in (one, two)
    ] == [(number, "complete", 50.0, {2: 50.0}) for number in range(2)]
    assert one["params"] == store.trials()[0].params
    assert [first["seeds"], second["seeds"]] == [[0], [1]]
    assert {event["method"] for event in heard.all} == {"vpt-deep"}
    assert {(result["seed"], result["took"]) for result in heard.only("result")} == {
        (0, 1.0),
        (1, 1.0),
    }
    assert [(event["results"], event["gaps"]) for event in heard.only("finished")] == [(2, 0)]


def test_a_pruned_trial_has_the_curve_that_it_was_ended_by(run: RunPlan, store: Store):
    heard = Heard(run, store)
    heard.scheduler.next("a")
    heard.scheduler.finish("a", [Outcome(30.0, {1: 30.0}, 0.5, 5.0)], pruned=True)
    (trial,) = heard.only("trial")
    assert (trial["state"], trial["curve"]) == ("pruned", {1: 30.0})
    assert "value" not in trial, "as in the store"


def test_what_ends_a_run_early_is_told(run: RunPlan, store: Store):
    for error, told in (
        (BadInput("no room"), ("stopped", "no room")),
        (Interrupted(signal.SIGTERM), ("interrupted", "SIGTERM")),
    ):
        heard = Heard(run, store)
        with pytest.raises(type(error)), _logging_the_end(heard.scheduler.log.events):
            raise error
        (event,) = heard.all
        assert (event["event"], event.get("reason") or event.get("signal")) == told


def test_what_fails_is_told_each_time_and_as_a_gap_at_the_end(run: RunPlan, store: Store):
    heard = Heard(run, store)
    heard.work(at_most=2)
    heard.work(BAD)
    assert heard.kinds()[7:] == ["job", "failed", "job", "failed", "gap"] * 2 + ["finished"]
    assert {gap["reason"] for gap in heard.only("gap")} == {"ValueError: no"}


def test_a_search_that_comes_to_nothing_is_a_gap_a_seed(run: RunPlan, store: Store):
    heard = Heard(run, store)
    heard.work(BAD)
    assert {trial["state"] for trial in heard.only("trial")} == {"failed"}
    assert [gap["seed"] for gap in heard.only("gap")] == [0, 1]
    assert heard.kinds()[-1] == "finished"


def test_a_cell_that_another_driver_has_is_told_and_that_it_is_back(run: RunPlan, store: Store):
    one, other = Heard(run, store), Heard(run, store)
    job = one.scheduler.next("a")
    assert job is not None
    assert other.scheduler.next("b") is None
    one.scheduler.finish("a", [GOOD])
    one.work()
    assert other.scheduler.next("b") is None
    assert other.kinds() == ["elsewhere", "back", "finished"]


def test_a_cell_that_is_taken_over_is_told_by_both_drivers(run: RunPlan, store: Store):
    slept = Heard(run, store)
    slept.scheduler.next("a")
    slept.scheduler.finish("a", [GOOD])
    slept.scheduler.next("b")
    store.release(slept.scheduler.owner)  # as if its leases had expired
    other = Heard(run, store)
    assert other.scheduler.next("c") is not None
    assert [(leased["trials"], leased["results"]) for leased in other.only("leased")] == [(1, 0)]
    slept.scheduler.renew()
    slept.scheduler.finish("b", [GOOD])
    assert slept.kinds()[-2:] == ["taken", "dropped"]
    other.scheduler.finish("c", [GOOD])
    other.work()
    assert sorted(trial["trial"] for heard in (slept, other) for trial in heard.only("trial")) == [
        0,
        1,
    ]
    assert other.kinds()[-1] == "finished"


def test_a_job_of_a_cell_that_was_taken_unheard_is_dropped(run: RunPlan, store: Store):
    slept = Heard(run, store)
    slept.scheduler.next("a")
    store.release(slept.scheduler.owner)
    slept.scheduler.finish("a", [GOOD])
    assert slept.kinds()[-2:] == ["dropped", "taken"]
    assert store.trials() == []


def test_several_seeds_of_cached_features_are_a_result_each(tiny, store: Store):
    found = plan(Request("linear", None, "toy", None, str(tiny.protocol), None, tiny.cards))
    store.add_cells(cell.cell for cell in found.cells)
    heard = Heard(found, store)
    heard.work()
    assert [len(job["trials"]) for job in heard.only("job")[:1]] == [2]
    assert [result["seed"] for result in heard.only("result")] == [0, 1]


def test_every_event_is_in_the_document_and_no_other():
    sources = Path(harness.engine.scheduler.__file__).parents[1]
    told = {
        kind
        for file in ("engine/event_log.py", "engine/run.py")
        for kind in re.findall(r'emit\(\s*"(\w+)"', (sources / file).read_text())
    }
    written = set(re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text(), re.MULTILINE))
    assert written == told | {"failed", "result", "lost"}
