"""How many jobs one Tune experiment gets."""

from simulator import Cluster, comparison

from harness.engine.jobs import FinalJob, Outcome, TuneJob, parse


def test_so_many_jobs_are_handed_out_and_no_more():
    searcher = Cluster(comparison(2, 4), devices=50).searcher
    searcher.most = 5
    given = [searcher.suggest(f"trial{number}") for number in range(7)]
    assert all(isinstance(job, dict) for job in given[:5])
    assert given[5:] == [searcher.FINISHED] * 2
    assert searcher.spent
    assert not searcher.scheduler.finished
    assert len(searcher.scheduler.in_flight) == 5


def test_on_one_machine_nothing_waits_for_a_worker_until_the_first_job_has_ended():
    """The first job's cell is the shortest: its final run follows at once, in place of a job that
    was ready. A cluster's autoscaler has to see that job."""
    cluster = Cluster(comparison(2, 4), devices=2)
    searcher, scheduler = cluster.searcher, cluster.scheduler
    jobs = [searcher.suggest(f"trial{number}") for number in range(3)]
    assert jobs[2] is None
    assert isinstance(jobs[0], dict)
    first = parse(jobs[0]["job"])
    assert isinstance(first, TuneJob)
    scheduler.finish("trial0", [Outcome(50.0, {1: 50.0}, 1.0, 10.0)] * len(first.points))
    names = ("trial3", "trial4", "trial5")
    following, spare, none = (searcher.suggest(name) for name in names)
    assert isinstance(following, dict)
    assert isinstance(spare, dict)
    assert none is None
    assert parse(following["job"]).cell == first.cell
    assert isinstance(parse(following["job"]), FinalJob)

    elsewhere = Cluster(comparison(2, 4), devices=2).searcher
    elsewhere.room = lambda: 2
    assert all(isinstance(elsewhere.suggest(f"trial{number}"), dict) for number in range(3))
