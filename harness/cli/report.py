"""`harness report` and `harness compare`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from harness import api
from harness.cli import complete, options
from harness.cli.options import (
    SettingOptions,
    Store,
    StoredMethods,
    SuiteOfResults,
    SuiteToCompare,
    Tasks,
    TextOrJson,
)
from harness.errors import BadInput
from harness.io import flags
from harness.io.flags import DEFAULT_STORE
from harness.reporting.formats import FORMATS
from harness.text import one_of

if TYPE_CHECKING:
    from harness.reporting.board import Leaderboard

PICTURES = ("png", "pdf", "svg")
"""Formats that show one backbone and protocol."""

Variant = Annotated[
    str,
    typer.Argument(
        help="A method, or a variant such as 'ivpt(da=false)'.", autocompletion=complete.methods
    ),
]
OtherVariant = Annotated[
    str, typer.Argument(help="What to compare it with.", autocompletion=complete.methods)
]


@options.expanded
def report(
    *,
    suite: SuiteOfResults = None,
    tasks: Tasks = None,
    methods: StoredMethods = None,
    setting: SettingOptions,
    store: Store = DEFAULT_STORE,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", help="A variant to compare the others with, e.g. vpt-deep."),
    ] = None,
    group: Annotated[
        bool, typer.Option("--group", help="Show means of groups of tasks instead of tasks.")
    ] = False,
    sort: Annotated[
        str, typer.Option("--sort", help="Order of the methods: mean, rank or params.")
    ] = "mean",
    complete_only: Annotated[
        bool, typer.Option("--complete-only", help="Only tasks on which every method has a score.")
    ] = False,
    budgets: Annotated[
        bool, typer.Option("--budgets", help="Show trials, epochs and forward-image units.")
    ] = False,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            help="Beside the scores: costs (all), or e.g. params,flops,memory. Default: params.",
        ),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Show published numbers next to measured ones.")
    ] = False,
    figure: Annotated[
        str | None,
        typer.Option(
            "--figure",
            help="tradeoff, ranks, differences, ablation, search or cost; for png, pdf and svg.",
        ),
    ] = None,
    x: Annotated[
        str | None,
        typer.Option("--x", help="The cost of a tradeoff: any of --columns. Default: params."),
    ] = None,
    no_caption: Annotated[
        bool, typer.Option("--no-caption", help="A figure without the note below it, for a paper.")
    ] = False,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help=f"{one_of(FORMATS)}. Default: from the suffix of --output.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="A file to write instead of the terminal.", parser=flags.path
        ),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on this machine; it follows the store.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="For --serve; 0 picks a free one.")
    ] = 8765,
) -> None:
    """Show the leaderboard of stored results: in the terminal, for a paper, as a page, or for
    programs."""
    if output is None and (figure or x or no_caption) and not serve:
        raise BadInput("a figure is a file: add --output ranks.pdf, or .png or .svg.")
    board = api.report(
        store,
        suite=suite,
        tasks=tasks,
        methods=methods,
        **asdict(setting),
        baseline=baseline,
        group=group,
        sort=sort,
        complete_only=complete_only,
        budgets=budgets,
        columns=columns,
        published=published,
    )
    if serve:
        _serve(board, port)
    elif output is not None:
        board.write(output, format, figure, x, not no_caption)
        if (format or output.suffix[1:].lower()) in PICTURES and board.left_out_of_figures:
            print(board.left_out_of_figures)
    elif format in (None, "table"):
        Console().print(board)
    else:
        print(board.text(format), end="")


def _serve(board: "Leaderboard", port: int) -> None:
    """Serves until Ctrl-C."""
    with board.server(port) as server:
        print(
            f"{server.url} shows {board.store.name}, on this machine only. Press Ctrl-C to stop.",
            flush=True,
        )
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


@options.expanded
def compare(
    one: Variant,
    other: OtherVariant,
    *,
    suite: SuiteToCompare = None,
    tasks: Tasks = None,
    setting: SettingOptions,
    store: Store = DEFAULT_STORE,
    format: TextOrJson = "text",
) -> None:
    """Say in words what may and may not be claimed about two methods."""
    options.check_format(format, ("text", "json"))
    comparison = api.compare(one, other, suite=suite, tasks=tasks, **asdict(setting), store=store)
    print(comparison.json() if format == "json" else comparison)
