"""A real run, interrupted and taken up again, as its log, its curves and its store tell it."""

import json
import os
import signal
import time
from itertools import pairwise

import pytest
from driving import finish, start, wait_for

from harness.engine.status import read
from harness.store import Store

pytestmark = pytest.mark.timeout(400)


@pytest.mark.slow
def test_what_a_run_tells_is_what_it_stored_though_it_was_interrupted(tiny):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log, curves = tiny.folder / "log.jsonl", tiny.folder / "curves"
    asked = ["--log-json", str(log), "--tensorboard", str(curves), "--workers", "2"]
    first = start(tiny, *asked)
    wait_for(lambda: log.exists() and '"trial"' in log.read_text())
    under_way = read(Store(tiny.store))
    os.killpg(first.pid, signal.SIGINT)
    interrupted = time.monotonic()
    said = first.said(60)
    assert time.monotonic() - interrupted < 10
    assert first.returncode == 130
    assert "resumes" in said
    assert "Traceback" not in said
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert (events[0]["event"], events[0]["workers"], events[-1]["event"]) == (
        "started",
        2,
        "interrupted",
    )
    assert under_way.results_wanted == 4
    assert under_way.trials_wanted == 4
    assert [driver.owner for driver in under_way.drivers] == [events[0]["owner"]]

    finish(start(tiny, *asked))
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert len({event["run"] for event in events}) == 2
    assert (events[-1]["event"], events[-1]["results"], events[-1]["gaps"]) == ("ended", 4, 0)
    store = Store(tiny.store)
    trials, results = store.trials(), store.results()
    told = [
        (e["cell"], e["trial"], e["state"], e["params"]) for e in events if e["event"] == "trial"
    ]
    assert sorted(told, key=str) == sorted(
        [(t.cell, t.number, t.state, t.params) for t in trials], key=str
    )
    assert {(e["cell"], e["seed"], e["value"]) for e in events if e["event"] == "result"} == {
        (r.cell, r.seed, r.score) for r in results
    }
    assert len([e for e in events if e["event"] == "finished"]) == 2
    assert all(
        one["seconds"] <= two["seconds"]
        for one, two in pairwise(events)
        if one["run"] == two["run"]
    )
    now = read(store)
    assert (now.states["done"], now.left) == (2, "nothing is left to do")

    names = {cell.key: cell.labels["variant"] for cell in store.cells().values()}
    for trial in trials:
        read_back = reader.EventAccumulator(
            str(
                curves
                / "toy"
                / f"{names[trial.cell]}-{trial.cell[:8]}"
                / f"trial-{trial.number:04}"
            )
        )
        read_back.Reload()
        assert {event.step: event.value for event in read_back.Scalars("val")} == pytest.approx(
            trial.curve
        )
    for result in results:
        read_back = reader.EventAccumulator(
            str(curves / "toy" / f"{names[result.cell]}-{result.cell[:8]}" / f"seed-{result.seed}")
        )
        read_back.Reload()
        assert [event.value for event in read_back.Scalars("test")] == [pytest.approx(result.score)]


def test_a_place_that_cannot_be_written_is_one_line_and_nothing_runs(tiny, harness):
    found = harness(*tiny.arguments("--log-json", str(tiny.protocol / "in")))
    assert found.returncode == 2
    assert found.stderr.startswith("harness: --log-json ")
    assert len(found.stderr.splitlines()) == 1
    assert not tiny.store.exists()
