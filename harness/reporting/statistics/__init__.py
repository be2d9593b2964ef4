"""What is computed from scores: means, ranks, intervals, tests.

A statistic that is a column of every leaderboard is a `Statistic` in its own file, and listed in
`STATISTICS`, in the order of the columns.
"""

from harness.reporting.statistics.means import MEAN, MEAN_OF_GROUPS
from harness.reporting.statistics.ranks import MEAN_RANK
from harness.reporting.statistics.statistic import Statistic

STATISTICS: tuple[Statistic, ...] = (MEAN, MEAN_OF_GROUPS, MEAN_RANK)

__all__ = ["MEAN", "MEAN_OF_GROUPS", "MEAN_RANK", "STATISTICS", "Statistic"]
