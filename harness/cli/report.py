"""`harness report` and `harness compare`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli import options
from harness.cli.options import Cards, Methods, Store, Suite, Tasks
from harness.errors import unknown
from harness.io import flags
from harness.io.flags import DEFAULT_STORE


def report(
    suite: Suite = None,
    tasks: Tasks = None,
    methods: Methods = None,
    store: Store = DEFAULT_STORE,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", help="A variant to hold the others against, e.g. vpt-deep."),
    ] = None,
    group: Annotated[
        bool, typer.Option("--group", help="Means of the groups of tasks in place of the tasks.")
    ] = False,
    sort: Annotated[
        str, typer.Option("--sort", help="Order of the methods: mean, rank or params.")
    ] = "mean",
    complete_only: Annotated[
        bool, typer.Option("--complete-only", help="Only the tasks that every method has.")
    ] = False,
    budgets: Annotated[
        bool, typer.Option("--budgets", help="Show trials, epochs and forward-image units.")
    ] = False,
    published: Annotated[
        bool, typer.Option("--published", help="Show published numbers beside the measured ones.")
    ] = False,
    figure: Annotated[
        str | None,
        typer.Option(
            "--figure",
            help="tradeoff, ranks, differences, ablation, search or cost; for png, pdf and svg.",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help=(
                "table, md, csv, json, parquet, latex, html, png, pdf or svg. Default: what"
                " --output's name says."
            ),
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
        int, typer.Option("--port", min=0, max=65535, help="For --serve; 0 takes a free one.")
    ] = 8765,
) -> None:
    """Show the leaderboard of what is stored: in the terminal, for a paper, as a page, or for
    programs."""
    from harness.reporting.columns import Layout
    from harness.reporting.render import Report, form_of
    from harness.store import Store as ResultStore

    layout = Layout(groups=group, budgets=budgets, baseline=baseline)
    wanted = Report(
        ResultStore(store),
        options.tasks(suite, tasks),
        flags.methods(methods),
        suite,
        None,
        layout,
        sort,
        complete_only,
        published,
        figure,
    )
    if serve:
        return _serve(wanted, port)
    form = form_of(format, output)
    if output is not None:
        wanted.write(form, output)
    elif form == "table":
        from rich.console import Console

        Console().print(wanted.render("table"))
    else:
        print(wanted.render(form), end="")


def _serve(report: Any, port: int) -> None:
    """Until Ctrl-C."""
    from dataclasses import replace

    from harness.reporting.serve import Server

    report.render("html")  # what can't be shown is said now
    with Server(
        lambda state: replace(report).render("html", live=state), report.store.state, port
    ) as server:
        print(
            f"{server.url} shows {report.store.name}, on this machine only. Ctrl-C ends it.",
            flush=True,
        )
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def compare(
    one: Annotated[str, typer.Argument(help="A method, or a variant as 'ivpt(da=false)'.")],
    other: Annotated[str, typer.Argument(help="What to compare it with.")],
    suite: Annotated[
        str | None,
        typer.Option("--suite", help="Its tasks only. Default: each suite that both were run on."),
    ] = None,
    tasks: Tasks = None,
    store: Store = DEFAULT_STORE,
    cards: Cards = None,
    format: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
) -> None:
    """Say in words what may be claimed of two methods, and what not."""
    if format not in ("text", "json"):
        raise unknown("format", format, ("text", "json"))
    from harness.reporting.compare import compare as against
    from harness.store import Store as ResultStore

    found = against(
        ResultStore(store), one, other, tasks=options.tasks(suite, tasks), suite_name=suite
    )
    print(found.json() if format == "json" else "\n".join(found.lines()))
