"""Stored results from Python: `report` and `compare`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.api.options import Names, Place
from harness.errors import names_arguments
from harness.io import flags
from harness.io.flags import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.reporting.board import Leaderboard
    from harness.reporting.compare import Comparison
    from harness.store import Store


@names_arguments()
def report(
    store: "Place | Store" = DEFAULT_STORE,
    *,
    suite: str | None = None,
    tasks: Names | None = None,
    methods: Names | None = None,
    backbone: str | None = None,
    protocol: str | None = None,
    kind: str | None = None,
    baseline: str | None = None,
    group: bool = False,
    sort: str = "mean",
    complete_only: bool = False,
    budgets: bool = False,
    columns: Names | None = None,
    published: bool = False,
) -> "Leaderboard":
    """The leaderboard of stored results.

    Args:
        store: Where results are stored: a file, or any SQLAlchemy URL.
        suite: The tasks of one suite. None: all, with one table per suite.
        tasks: Tasks, in the order to show them.
        methods: Names (`ivpt`: all its variants) or variants. None: all.
        backbone: Only rows of this backbone, `NAME` or `NAME@SIDE`. None: a table for each.
        protocol: Only rows under this protocol. None: a table for each.
        kind: `classification` or `segmentation`. None: both.
        baseline: A variant to compare the others with, e.g. `vpt-deep`.
        group: Show means of groups of tasks instead of tasks.
        sort: Order of the methods: `mean`, `rank` or `params`.
        complete_only: Only tasks on which every method has a score.
        budgets: Show trials, epochs and forward-image units.
        columns: What to show beside scores and means, such as `["params", "flops"]`; `costs`
            stands for all costs. None: `params`.
        published: Show published numbers next to measured ones.

    Returns:
        The leaderboard: text in a terminal, a table in a notebook; `to_html`, `to_latex` and
        others write it, `results` is a pandas frame.

    Raises:
        BadInput: An unknown suite; when the leaderboard is shown, also nothing stored, or an
            unknown method or order.

    Examples:
        >>> harness.report("results/harness.db", suite="mini").to_html("board.html")
    """
    from harness.planning import arguments
    from harness.reporting.filters import Setting
    from harness.store import Store
    from harness.tasks.cards import named_tasks

    return leaderboard_of(
        store if isinstance(store, Store) else Store(store),
        named_tasks(suite, arguments.joined("tasks", tasks)),
        suite,
        methods=flags.methods(arguments.joined("methods", methods)),
        setting=Setting(backbone, protocol, kind),
        baseline=baseline,
        group=group,
        sort=sort,
        complete_only=complete_only,
        budgets=budgets,
        columns=columns,
        published=published,
    )


@names_arguments()
def compare(
    one: str,
    other: str,
    *,
    suite: str | None = None,
    tasks: Names | None = None,
    backbone: str | None = None,
    protocol: str | None = None,
    kind: str | None = None,
    store: Place = DEFAULT_STORE,
) -> "Comparison":
    """Says in words what may and may not be claimed about two methods.

    Args:
        one: A method with one variant in the store, or a variant.
        other: What to compare it with.
        suite: Only its tasks. None: every suite that both were run on.
        tasks: Only these tasks.
        backbone: Only rows of this backbone, `NAME` or `NAME@SIDE`.
        protocol: Only rows under this protocol.
        kind: `classification` or `segmentation`.
        store: Where results are stored.

    Returns:
        The comparison: `print` shows its sentences, `json()` has its numbers.

    Raises:
        BadInput: Nothing stored, an unknown name, the same variant twice, or never run with the
            same backbone and protocol.

    Examples:
        >>> print(harness.compare("ivpt", "vpt-deep", suite="mini"))
    """
    from harness.planning import arguments
    from harness.reporting.compare import compare as compared
    from harness.reporting.filters import Setting
    from harness.store import Store
    from harness.tasks.cards import named_tasks

    names = named_tasks(suite, arguments.joined("tasks", tasks))
    setting = Setting(backbone, protocol, kind)
    return compared(Store(store), one, other, tasks=names, suite_name=suite, setting=setting)


def leaderboard_of(
    store: "Store",
    tasks: Sequence[str] | None,
    suite: str | None,
    *,
    methods: Sequence[str] | None = None,
    cells: Sequence[str] | None = None,
    baseline: str | None = None,
    group: bool = False,
    budgets: bool = False,
    columns: Names | None = None,
    **shown: Any,
) -> "Leaderboard":
    """`shown`: the rest of `BoardOptions`, which are fields of a `Report` by the same names."""
    from harness.planning import arguments
    from harness.reporting.board import Leaderboard
    from harness.reporting.columns import Layout
    from harness.reporting.costs import BUDGETS, USUAL
    from harness.reporting.report import Report

    text = arguments.joined("columns", columns)
    chosen = USUAL if text is None else [name.strip() for name in text.split(",") if name.strip()]
    return Leaderboard(
        Report(
            store,
            tasks=tasks,
            methods=methods,
            suite=suite,
            cells=cells,
            layout=Layout(group, (*chosen, *(BUDGETS if budgets else ())), baseline),
            **shown,
        )
    )
