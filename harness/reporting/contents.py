"""Which part of a store a report shows, and how: the one input of every format."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, cast, get_args

from harness.errors import unknown
from harness.reporting.columns import PLAIN, Layout, named_columns
from harness.reporting.filters import ANY, Setting, of_methods, of_setting, one_variant, stored
from harness.reporting.leaderboard import leaderboard
from harness.reporting.published.numbers import PublishedNumber, means, published
from harness.reporting.rows import Rows
from harness.reporting.section import Section, Sort, sections
from harness.reporting.tidy import tidy
from harness.store import Store

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Contents:
    """The properties raise `BadInput` where there is nothing to show, or a name is unknown."""

    store: Store
    tasks: Sequence[str] | None = None
    """The columns' names and order; None: all, with one table per suite."""
    methods: Sequence[str] | None = None
    """Names (`ivpt`: all its variants) or full variants (`ivpt(da=false)`); None: all."""
    suite: str | None = None
    """Its name, for display."""
    cells: Collection[str] | None = None
    """Keys of the cells to show; None: all."""
    setting: Setting = ANY
    layout: Layout = PLAIN
    sort: str = "mean"
    complete_only: bool = False
    published: bool = False
    """Whether published numbers are shown too. The page always has them."""
    figure: str | None = None
    """Which figure the image formats draw; None: the default one."""
    x: str | None = None
    """The cost of a trade-off; None: tuned parameters."""
    caption: bool = True
    """Whether a figure has a note below."""
    detail: bool = False
    """Whether `rows` have their `detail`."""

    @cached_property
    def rows(self) -> Rows:
        """Final runs and failures, as requested."""
        rows = stored(self.store, self.tasks, self.suite, self.cells, self.detail)
        if self.setting:
            rows = of_setting(rows, self.setting)
        return rows if self.methods is None else of_methods(rows, self.methods)

    @cached_property
    def sections(self) -> list[Section]:
        return sections(
            leaderboard(self.rows),
            self.tasks,
            self.suite,
            self.checked_sort,
            self.complete_only,
        )

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the store is left out, and all of it is shown as by default."""
        return replace(self, detail=False) == type(self)(self.store)

    @property
    def checked_sort(self) -> Sort:
        if self.sort not in get_args(Sort):
            raise unknown("order", self.sort, get_args(Sort))
        return cast(Sort, self.sort)

    @property
    def checked_layout(self) -> Layout:
        """With the baseline's full name, and its columns one by one."""
        baseline = self.layout.baseline
        return replace(
            self.layout,
            columns=named_columns(self.layout.columns),
            baseline=None if baseline is None else one_variant(self.rows, baseline),
        )

    @cached_property
    def published_numbers(self) -> list[PublishedNumber] | None:
        """Those on the tasks shown, and means; None unless requested."""
        if not self.published:
            return None
        shown = {task for section in self.sections for task in section.tasks} | set(means())
        return [number for number in published() if number.task in shown]

    @property
    def tidy(self) -> "pd.DataFrame":
        return tidy(self.rows, self.published_numbers or ())
