"""Checks of a method, for `harness try` and for tests:

    from harness.testing import check_method

    def test_mine():
        report = check_method(Mine)
        assert report.ok, report

All in this process, on random backbones of a few thousand weights and made-up images.
"""

from harness.engine.method_checks import CHECKS, Check, Report, check_method, checks

__all__ = ["CHECKS", "Check", "Report", "check_method", "checks"]
