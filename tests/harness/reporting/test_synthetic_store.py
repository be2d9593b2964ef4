"""The made-up store that reports are tried on is as large, and as well-formed, as it says."""

from harness.reporting import frame
from harness.reporting.stats import sections
from harness.store import Store


def test_a_large_store_has_every_square(large: Store) -> None:
    rows = frame.rows(large, detail=True)
    assert len(rows) == 100 * 24 * 5
    assert {len(curve) for curve in rows["curve"]} == {100}
    board = frame.leaderboard(rows, frame.failures(large))
    vtab, fgvc = sections(board, None, None)
    assert (len(vtab.scores), len(vtab.tasks), len(fgvc.tasks), vtab.seeds) == (100, 19, 5, 5)
    assert all(said["mean"] is not None for said in vtab.methods.values())
