"""The results of a run, as `harness.run` and `harness.ablate` return them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness.api.options import BoardOptions
from harness.api.progress import viewing
from harness.api.reports import leaderboard_of, report
from harness.errors import names_arguments

if TYPE_CHECKING:
    from typing import Unpack

    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]  # it brings no types
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from harness.planning.outline import Outline
    from harness.planning.plan import RunPlan
    from harness.planning.request import Request
    from harness.reporting.ablation import Ablation as Grid
    from harness.reporting.board import Leaderboard
    from harness.store import Store


@dataclass(frozen=True, repr=False)
class Run:
    """The results of a run, new and old: `harness.run` returns one.

    Its frames are read from the store at every access.
    """

    store: "Store"
    wanted: int
    """Final runs in the plan."""
    gaps: int
    """Those that are missing: they failed, and `failures` says why, or `max_hours` were over. The
    same call does them."""
    ids: tuple[str, ...]
    """Ids of the stored final runs, in the order of the plan."""
    late: bool
    """Whether `max_hours` were over before all was done."""
    _outline: "Outline"
    _planned: "RunPlan | Request"
    """A request where nothing had to be planned: its results were all stored."""

    @cached_property
    def plan(self) -> "RunPlan":
        """The cells: method variants x tasks, each with its backbone, protocol and seeds."""
        from harness.planning.plan import plan
        from harness.planning.request import Request

        return plan(self._planned) if isinstance(self._planned, Request) else self._planned

    @property
    def results(self) -> "pd.DataFrame":
        """One row per final run: `id`, `variant`, `method`, `task`, `suite`, `backbone`,
        `protocol`, `metric`, `seed`, `score` (percent, on test), a column for each hyper-parameter,
        `trainable` (values, without the head), `train_only` (values that predictions don't need),
        `head_params`, `seconds`, `memory` (bytes), `units` (forward-image units), `created`; and
        the costs `flops`, `flops_scored`, `flops_overhead`, `seconds_image` and `checkpoint_bytes`
        of `docs/costs.md`, NaN where a run lacks them (operations are counted for a cell's first
        seed)."""
        from harness.reporting import wide

        return wide.results(self.store, self._cells)

    @property
    def trials(self) -> "pd.DataFrame":
        """One row per trial of the searches: like `results`, with `number`, `state` (`complete`,
        `pruned`, `failed`), `score` (percent, on val) and `reason`."""
        from harness.reporting import wide

        return wide.trials(self.store, self._cells)

    @property
    def curves(self) -> "pd.DataFrame":
        """What was measured while training, one row per value: what it is of, with `trial` (its
        number) or `seed`; `curve`, which is `val` or `test` (the score in percent), `loss`, `lr` or
        what the method logs; `epoch` (in segmentation, the iteration), counted from 1; `value`."""
        from harness.reporting import wide

        return wide.curves(self.store, self._cells)

    @property
    def failures(self) -> "pd.DataFrame":
        """One row per missing final run: what it is, `seed`, `reason` and `traceback`."""
        from harness.reporting import wide

        return wide.failures(self.store, self._cells)

    @names_arguments(BoardOptions)
    def leaderboard(self, **options: "Unpack[BoardOptions]") -> "Leaderboard":
        """The run's methods and tasks, ranked: text in a terminal, a table in a notebook.

        Args:
            **options: Those of `harness.report` that say what is shown: see `BoardOptions`.

        Raises:
            BadInput: Nothing of this run is stored, or a name is unknown; raised when it is shown.
        """
        return leaderboard_of(
            self.store, self._outline.tasks, self._outline.suite, cells=self._cells, **options
        )

    def write_page(self, progress: bool = True) -> Path:
        """Writes a page with everything in the store, next to the store, like the command `harness
        run`: one file to open. Returns its path.

        Raises:
            BadInput: It can't be written.
        """
        with viewing(progress, "writing the page"):
            from harness.reporting.formats.page.html import write

            write(self.store.page, report(self.store).text("html"))
        return self.store.page

    @property
    def _cells(self) -> list[str]:
        return self._outline.keys

    def __repr__(self) -> str:
        methods, tasks = self._outline.variants, self._outline.tasks
        missing = f", {self.gaps} missing" if self.gaps else ""
        return (
            f"<{type(self).__name__}: {', '.join(methods)} on {', '.join(tasks)}:"
            f" {self.wanted - self.gaps} of {self.wanted} results{missing}, in {self.store.name}>"
        )


@dataclass(frozen=True, repr=False)
class Ablation(Run):
    """A run over the valid settings of a method's toggles. `print(ablation)` and a terminal's
    prompt show what each toggle is worth, and so does a notebook."""

    grid: "Grid"
    """What is on in each variant."""

    def table(self) -> "RenderableType":
        """One row per setting: means, and the difference to all toggles off with its 95 % interval;
        for rich's `Console.print`."""
        from harness.reporting.ablation import table

        return table(self.store, self.plan, self.grid)

    def __str__(self) -> str:
        from harness.text import rendered

        return rendered(self.table()).rstrip()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from harness.text import preformatted

        return preformatted(self.table())

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        yield self.table()
