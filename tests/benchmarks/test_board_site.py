"""The rows of which the board's benchmark makes a site are ones that a board takes."""

from pathlib import Path

import board_site

from harness.reporting.submissions.check import check_all


def test_two_peoples_rows_pass_the_checks(tmp_path: Path):
    steps = dict(board_site.submissions(tmp_path, variants=4, seeds=2))
    assert list(steps) == ["harness submit, ada", "harness submit, ben"]
    outcomes = check_all(tmp_path / "submissions")
    assert [[str(fault) for fault in one.faults] for one in outcomes] == [[], []]
