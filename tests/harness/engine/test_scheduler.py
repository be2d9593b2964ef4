"""The scheduler alone, no Ray and no training: what it hands out, what it keeps, what it does after
an interruption."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from planned import GRID, GRID_SPACE, bad, begin, drive, good, plan, planned, quality

import harness.engine.scheduler
from harness.engine.jobs import DIED, OUT_OF_MEMORY, FinalJob, Outcome, TuneJob, dump, parse
from harness.engine.scheduler import Scheduler
from harness.planning.cell import PlannedCell
from harness.store import Store, gone, new_owner
from methods.linear import Linear


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results.db")


def test_a_cell_is_tuned_then_run_once_a_seed_with_the_best_point(store: Store):
    jobs = drive(begin(plan(), store))
    assert [type(job) for job in jobs] == [TuneJob] * 6 + [FinalJob] * 2
    best = max(store.trials(), key=lambda trial: trial.value or 0.0)
    assert [(job.seeds, job.params) for job in jobs[6:]] == [
        ((0,), best.params),
        ((1,), best.params),
    ]
    assert [result.score for result in store.results()] == [quality(best.params)] * 2


def test_the_same_plan_again_has_nothing_to_do(store: Store):
    drive(begin(plan(), store))
    assert Scheduler(plan(), store).finished
    assert Scheduler(plan(), store).next("x") is None


@pytest.mark.parametrize("stop_after", [1, 3, 6, 7])
def test_an_interrupted_run_ends_like_an_unbroken_one(tmp_path: Path, stop_after: int):
    whole, broken = Store(tmp_path / "whole.db"), Store(tmp_path / "broken.db")
    drive(begin(plan(), whole))
    drive(begin(plan(), broken), stop_after)
    second = begin(plan(), broken)
    second.next("killed")  # in flight when the process dies: nothing of it is stored
    second.close()
    drive(begin(plan(), broken))
    assert [(t.number, t.params) for t in broken.trials()] == [
        (t.number, t.params) for t in whole.trials()
    ]
    assert [(r.seed, r.score) for r in broken.results()] == [
        (r.seed, r.score) for r in whole.results()
    ]


def test_when_the_time_is_up_what_is_under_way_is_finished_and_nothing_begun(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    now = 100.0
    monkeypatch.setattr("harness.engine.scheduler.time.monotonic", lambda: now)
    scheduler = Scheduler(plan(), store, deadline=160.0)
    store.add_cells(cell.cell for cell in scheduler.cells)
    first = scheduler.next("a")
    assert first is not None
    assert not scheduler.late
    now = 160.0
    assert scheduler.next("b") is None
    assert scheduler.late
    assert not scheduler.finished  # the first is under way
    scheduler.finish("a", [good() for _ in range(first.runs)])
    assert scheduler.finished
    assert scheduler.gaps == 2
    assert len(store.trials()) == 1


def test_more_seeds_add_seeds_only(store: Store):
    drive(begin(plan(), store))
    jobs = drive(begin(plan(planned(seeds=(0, 1, 2))), store))
    assert [(type(job), job.seeds) for job in jobs] == [(FinalJob, (2,))]


def test_a_grid_is_walked_whole_and_only_what_is_missing_of_it(store: Store):
    cell = planned(protocol=GRID, space=GRID_SPACE)
    drive(begin(plan(cell), store), stop_after=1)
    drive(begin(plan(cell), store))
    assert sorted((t.params["base_lr"], t.params["weight_decay"]) for t in store.trials()) == [
        (1.0, 0.0),
        (1.0, 0.1),
        (3.0, 0.0),
        (3.0, 0.1),
    ]


def test_ties_go_to_the_smaller_learning_rate(store: Store):
    drive(begin(plan(planned(protocol=GRID, space=GRID_SPACE)), store))
    assert quality({"base_lr": 1.0}) == quality({"base_lr": 3.0})
    assert store.results()[0].params == {"base_lr": 1.0, "weight_decay": 0.0}


def test_nothing_to_choose_means_no_search(store: Store):
    jobs = drive(begin(plan(planned(space={})), store))
    assert [type(job) for job in jobs] == [FinalJob, FinalJob]


def test_constant_features_get_all_their_points_at_once(store: Store):
    scheduler = begin(plan(planned(method=Linear)), store)
    job = scheduler.next("a")
    assert isinstance(job, TuneJob)
    assert len(job.points) == 6
    scheduler.finish("a", [good(quality(params)) for _, params in job.points])
    assert len(store.trials()) == 6
    final = scheduler.next("b")
    assert isinstance(final, FinalJob)
    assert final.seeds == (0, 1)
    scheduler.finish("b", [good(80.0), bad()])
    assert [(result.seed, result.score) for result in store.results()] == [(0, 80.0)]
    retried = scheduler.next("c")
    assert isinstance(retried, FinalJob)
    assert retried.seeds == (1,)
    scheduler.lose("c", "hung")
    assert scheduler.finished
    assert [failure.seed for failure in store.failures()] == [1]


def test_a_search_is_kept_nearly_sequential_until_a_device_would_idle(store: Store):
    scheduler = begin(plan(planned("one"), planned("two")), store)
    jobs = [scheduler.next(name) for name in "abcd"]
    assert [scheduler.in_flight[name][0].planned.card.name for name in "abcd"] == [
        "one",
        "two",
        "one",
        "one",
    ]
    assert all(isinstance(job, TuneJob) for job in jobs)


def test_hopeless_trials_are_pruned_and_said_so(store: Store):
    scheduler = begin(plan(), store)
    for number in range(3):
        scheduler.next(f"{number}")
        assert not scheduler.report(f"{number}", 2, 60.0)
        assert not scheduler.report(f"{number}", 4, 70.0)
        scheduler.finish(f"{number}", [good(70.0)])
    scheduler.next("bad")
    assert scheduler.report("bad", 2, 5.0)
    scheduler.finish("bad", [Outcome(5.0, {2: 5.0}, 1.0, 1.0)], pruned=True)
    row = store.trials()[-1]
    assert (row.state, row.value, row.curve) == ("pruned", None, {2: 5.0})
    assert not scheduler.report(next_name(scheduler), 6, 1.0)


def next_name(scheduler: Scheduler) -> str:
    scheduler.next("next")
    return "next"


def test_a_failed_trial_is_tried_once_more_as_a_new_one_and_then_counts_as_spent(store: Store):
    scheduler = begin(plan(), store)
    first = scheduler.next("a")
    scheduler.finish("a", [bad()])
    second = scheduler.next("b")
    assert isinstance(first, TuneJob)
    assert isinstance(second, TuneJob)
    assert second.points[0][1] == first.points[0][1]
    assert second.points[0][0] == first.points[0][0] + 1
    scheduler.finish("b", [bad()])
    drive(scheduler)
    states = [trial.state for trial in store.trials()]
    assert (states.count("failed"), states.count("complete")) == (2, 5)
    assert store.trials()[0].reason == "ValueError: no"
    assert len(store.results()) == 2


def test_out_of_memory_is_tried_again_with_half_the_micro_batch_down_to_one_image(store: Store):
    """Batches of 4: what fits is one image at once in the search, and none in the final run of seed
    1."""
    scheduler = begin(plan(planned(protocol=GRID, space=GRID_SPACE)), store)
    jobs, number = [], 0
    while not scheduler.finished:
        number += 1
        job = scheduler.next(f"{number}")
        assert job is not None
        jobs.append(job)
        fits = job.micro_batch == 1 and not (isinstance(job, FinalJob) and job.seeds == (1,))
        with_it = {"micro_batch": job.micro_batch} if job.micro_batch else {}
        full = bad(f"{OUT_OF_MEMORY} with {job.micro_batch or 4} images at once")
        scheduler.finish(f"{number}", [replace(good() if fits else full, provenance=with_it)])
    tried = {}
    for job in jobs:
        place = str(job.points[0][1]) if isinstance(job, TuneJob) else str(job.seeds)
        tried.setdefault(place, []).append(job.micro_batch)
    assert list(tried.values()) == [[None, 2, 1], [1], [1], [1], [1], [1]]
    assert {
        trial.provenance["micro_batch"] for trial in store.trials() if trial.state == "complete"
    } == {1}
    assert [(result.seed, result.provenance["micro_batch"]) for result in store.results()] == [
        (0, 1)
    ]
    assert [failure.seed for failure in store.failures()] == [1]


def test_a_search_starts_with_the_micro_batch_that_sufficed(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    """Also after a restart, where the batch isn't that small anyway, and in final runs without a
    search."""
    run = plan(planned(protocol=GRID, space=GRID_SPACE))
    scheduler = begin(run, store)
    ran = []

    def works_with(most: int, job_id: str) -> None:
        job = scheduler.next(job_id)
        assert job is not None
        ran.append(job.micro_batch)
        noted = {"micro_batch": job.micro_batch} if job.micro_batch else {}
        outcome = good() if (job.micro_batch or 4) <= most else bad(OUT_OF_MEMORY)
        scheduler.finish(job_id, [replace(outcome, provenance=noted)])

    works_with(2, "a")
    works_with(2, "b")
    works_with(2, "c")
    assert ran == [None, 2, 2]
    scheduler.close()
    scheduler = Scheduler(run, store)
    with monkeypatch.context() as other:
        other.setattr(PlannedCell, "batch_size", lambda self, *points: 2)
        works_with(4, "d")
    works_with(1, "e")
    works_with(1, "f")
    assert ran[3:] == [None, 2, 1]
    chosen = scheduler.next("g")
    assert isinstance(chosen, FinalJob)
    assert chosen.micro_batch is None  # as its trial, d
    scheduler.close()
    known = GRID.model_copy(update={"fixed": {"base_lr": 1.0, "weight_decay": 0.0}})
    scheduler = begin(plan(planned("other", protocol=known, space={})), store)
    ran.clear()
    for number in range(3):
        works_with(2, f"final {number}")
    assert ran == [None, 2, 2]
    assert scheduler.finished


def test_a_search_that_fits_no_memory_is_a_gap(store: Store):
    scheduler = begin(plan(planned(method=Linear)), store)
    for name, micro_batch in (("a", None), ("b", 2), ("c", 1)):
        job = scheduler.next(name)
        assert isinstance(job, TuneJob)
        assert (len(job.points), job.micro_batch) == (6, micro_batch)
        scheduler.lose(name, f"{OUT_OF_MEMORY} while features were computed")
    assert scheduler.next("d") is None
    assert scheduler.finished
    assert {failure.seed for failure in store.failures()} == {0, 1}


def test_a_failed_point_of_a_grid_is_tried_again_before_the_next(store: Store):
    scheduler = begin(plan(planned(protocol=GRID, space=GRID_SPACE)), store)
    first = scheduler.next("a")
    scheduler.finish("a", [bad()])
    second = scheduler.next("b")
    assert isinstance(first, TuneJob)
    assert isinstance(second, TuneJob)
    assert second.points[0][1] == first.points[0][1]
    scheduler.finish("b", [good()])
    drive(scheduler)
    assert len([trial for trial in store.trials() if trial.state == "complete"]) == 4


def test_a_final_run_that_fails_twice_is_a_gap_and_others_go_on(store: Store):
    scheduler = begin(plan(planned("one"), planned("two")), store)
    number = 0
    while not scheduler.finished:
        number += 1
        job = scheduler.next(f"{number}")
        cell = scheduler.in_flight[f"{number}"][0].planned.card.name
        broken = isinstance(job, FinalJob) and cell == "one" and job.seeds == (1,)
        scheduler.finish(f"{number}", [bad("OutOfMemoryError: full") if broken else good()])
    assert len(store.results()) == 3
    assert [(failure.seed, failure.reason) for failure in store.failures()] == [
        (1, "OutOfMemoryError: full")
    ]
    drive(begin(plan(planned("one"), planned("two")), store))
    assert len(store.results()) == 4
    assert store.failures() == []


def test_a_search_without_a_single_score_is_a_gap_for_every_seed(store: Store):
    scheduler = begin(plan(), store)
    number = 0
    while not scheduler.finished:
        number += 1
        if scheduler.next(f"{number}") is None:
            break
        scheduler.finish(f"{number}", [bad()])
    assert scheduler.finished
    assert {failure.seed for failure in store.failures()} == {0, 1}
    assert "ValueError: no" in store.failures()[0].reason


def test_a_dead_worker_is_a_failure_with_its_reason_and_its_point_is_tried_three_times_more(
    store: Store,
):
    scheduler = begin(plan(planned(seeds=(0,))), store)
    for number in range(4):
        job = scheduler.next(f"{number}")
        assert isinstance(job, TuneJob)
        scheduler.lose(f"{number}", f"{DIED} (killed)")
    drive(scheduler)
    states = [trial.state for trial in store.trials()]
    assert states == ["failed"] * 4 + ["complete"] * 5
    assert len({str(trial.params) for trial in store.trials()[:4]}) == 1
    assert store.trials()[0].reason == "the worker process died (killed)"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledgers look at what others did whenever they have nothing to do."""
    monkeypatch.setattr(harness.engine.scheduler, "_LOOK", 0.0)


@pytest.mark.usefixtures("at_once")
def test_two_drivers_share_the_cells_and_do_none_twice(store: Store):
    run = plan(planned("one"), planned("two"), planned("three"))
    drivers = begin(run, store), Scheduler(run, store)
    jobs: dict[str, set[int]] = {}
    for number in range(1000):
        who = number % 2
        job = drivers[who].next(f"{number}")
        if job is not None:
            jobs.setdefault(job.cell, set()).add(who)
            points = (
                [params for _, params in job.points] if isinstance(job, TuneJob) else [job.params]
            )
            drivers[who].finish(f"{number}", [good(quality(params)) for params in points])
    assert all(driver.finished for driver in drivers)
    assert sorted(map(len, jobs.values())) == [1, 1, 1], "a cell is one driver's"
    assert set.union(*jobs.values()) == {0, 1}
    assert [len(store.trials(cell.key)) for cell in run.cells] == [6, 6, 6]
    assert len(store.results()) == 6
    assert store.leases() == []
    assert drivers[0].ended == drivers[1].ended == {"complete": 18, "results": 6}


@pytest.mark.usefixtures("at_once")
def test_a_driver_waits_for_cells_that_another_has_and_ends_when_they_are_done(store: Store):
    one, other = begin(plan(), store), Scheduler(plan(), store)
    job = one.next("a")
    assert isinstance(job, TuneJob)
    assert other.next("b") is None
    assert not other.finished
    assert list(other.elsewhere) == [job.cell]
    one.finish("a", [good()])
    drive(one)
    assert other.next("b") is None
    assert other.finished


@pytest.mark.usefixtures("at_once")
def test_what_fails_at_one_driver_is_not_tried_again_by_another_that_runs(store: Store):
    run = plan(planned(space={}))
    one, other = begin(run, store), Scheduler(run, store)
    for name in "abcd":
        assert one.next(name) is not None
        assert other.next("z") is None
        one.finish(name, [bad()])
    assert one.finished
    assert other.next("z") is None
    assert other.finished
    assert len(store.failures()) == 2
    assert len(drive(begin(run, store))) == 2, "but by the same command, later"


@pytest.mark.usefixtures("at_once")
def test_a_dead_driver_of_this_machine_is_not_waited_for(store: Store):
    dead = begin(plan(), store)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host, machine, _, digits = new_owner().split("/")
    dead.owner = f"{host}/{machine}/{ended.pid}/{digits}"
    assert gone(dead.owner)
    dead.next("in flight")
    other = Scheduler(plan(), store)
    assert len(drive(other)) == 8
    assert other.finished


@pytest.mark.usefixtures("at_once")
def test_of_another_machine_it_is_waited_for_until_its_leases_expire(store: Store, raw_sql):
    dead = begin(plan(), store)
    dead.owner = "elsewhere/0/1/2"
    assert not gone(dead.owner)
    dead.next("in flight")
    other = Scheduler(plan(), store)
    assert other.next("a") is None
    raw_sql("update leases set expires = expires - 1000")
    assert len(drive(other)) == 8


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    "heard", [True, False], ids=["it hears of it", "it finds out by what it stores"]
)
def test_a_driver_that_slept_too_long_drops_what_it_had_and_takes_up_where_others_are(
    store: Store, raw_sql, heard: bool
):
    slept = begin(plan(), store)
    for name in "ab":
        slept.next(name)
    raw_sql("update leases set expires = expires - 1000")
    other = Scheduler(plan(), store)
    job = other.next("c")
    assert isinstance(job, TuneJob)
    if heard:
        slept.renew()
        assert slept.report("a", 2, 50.0), "it may as well end"
    slept.finish("a", [good()])
    assert store.trials() == []
    other.finish("c", [good(40.0)])
    other.close()
    after = slept.next("d")
    assert isinstance(after, TuneJob)
    assert after.points[0][0] == 1, "the search goes on after what the other did"
    slept.finish("b", [good(99.0)])
    slept.finish("d", [good(41.0)])
    assert [trial.value for trial in store.trials()] == [40.0, 41.0]


@pytest.fixture
def raw_sql(store: Store):
    """SQL past the store."""
    import sqlite3

    def execute(statement: str) -> None:
        with sqlite3.connect(str(store.file)) as connection:
            connection.execute(statement)
        connection.close()

    return execute


@pytest.mark.parametrize(
    "job",
    [
        TuneJob("c", ((0, {"base_lr": 0.1}), (1, {"base_lr": 1}))),
        FinalJob("c", (3,), {"prompts": 5}, 8),
    ],
)
def test_jobs_survive_the_trip_through_json(job):
    assert parse(dump(job)) == job
