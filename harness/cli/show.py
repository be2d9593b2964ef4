"""`harness show`, `harness status` and `harness list`."""

import json
from typing import Annotated

import typer

from harness.cli import complete
from harness.cli.options import Cards, ResultId, Store, TextOrJson, check_format
from harness.io.flags import DEFAULT_STORE


def show(
    id: ResultId,
    store: Store = DEFAULT_STORE,
    format: TextOrJson = "text",
) -> None:
    """Show a result: score, hyper-parameters, search, costs, where it was made, and how to make it
    again. JSON has all that is stored."""
    check_format(format, ("text", "json"))
    from harness.reporting.result_detail import detail
    from harness.store import Store as ResultStore

    found = detail(ResultStore(store), id)
    if format == "json":
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    from harness.reporting.result_card import card

    Console(highlight=False).print(card(found))


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
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="methods, tasks, suites, protocols or backbones.",
            autocompletion=complete.listed,
        ),
    ],
    cards: Cards = None,
    format: TextOrJson = "text",
) -> None:
    """List what can be named on the command line."""
    check_format(format, ("text", "json"))
    from rich.console import Console

    from harness.cli.list import listing

    found = listing(what, cards)
    if format == "json":
        print(json.dumps(found.records, indent=2))
    else:
        Console().print(found.table)
