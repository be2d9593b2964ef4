"""The made-up store that reports are tried on is as large, and as well-formed, as it says."""

import pytest

from harness.reporting.leaderboard import leaderboard
from harness.reporting.rows import read
from harness.reporting.section import sections
from harness.store import Store


@pytest.mark.slow
def test_a_large_store_has_every_square(large: Store) -> None:
    rows = read(large, detail=True)
    assert len(rows.runs) == 100 * 24 * 5
    assert {len(run.detail.curves["loss"]) for run in rows.runs if run.detail} == {100}
    vtab, fgvc = sections(leaderboard(rows), None, None)
    assert (len(vtab.scores), len(vtab.tasks), len(fgvc.tasks), vtab.seeds) == (100, 19, 5, 5)
    assert all(summary.mean is not None for summary in vtab.methods.values())
