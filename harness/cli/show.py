"""`harness show`, `harness status` and `harness list`."""

from typing import Annotated

import typer

from harness.cli.options import Cards, ResultId, Store, TextOrJson
from harness.io.flags import DEFAULT_STORE


def show(
    id: ResultId,
    store: Store = DEFAULT_STORE,
) -> None:
    """Show everything known about a result."""
    from harness.reporting.result_detail import text
    from harness.store import Store as ResultStore

    print(text(ResultStore(store), id))


def status(
    store: Store = DEFAULT_STORE,
    watch: Annotated[
        bool, typer.Option("--watch", help="Update every two seconds, until Ctrl-C.")
    ] = False,
    format: TextOrJson = "text",
) -> None:
    """Show the progress of the work on a store: active drivers, what is done, what failed, and the
    time remaining. From any terminal."""
    from rich.console import Console

    from harness.cli import status as screen
    from harness.store import Store as ResultStore

    (screen.watch if watch else screen.show)(ResultStore(store), format, Console())


def list_(
    what: Annotated[str, typer.Argument(help="methods, tasks, suites, protocols or backbones")],
    cards: Cards = None,
) -> None:
    """List what can be named on the command line."""
    from rich.console import Console

    from harness.cli.list import listing

    Console().print(listing(what, cards))
