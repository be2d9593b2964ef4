"""How many jobs one Tune experiment gets."""

from simulator import Cluster, comparison


def test_so_many_jobs_are_handed_out_and_no_more():
    searcher = Cluster(comparison(2, 4), devices=50).searcher
    searcher.most = 5
    given = [searcher.suggest(f"trial{number}") for number in range(7)]
    assert all(isinstance(job, dict) for job in given[:5])
    assert given[5:] == [searcher.FINISHED] * 2
    assert searcher.spent
    assert not searcher.scheduler.finished
    assert len(searcher.scheduler.in_flight) == 5
