"""The command line: flags in, text out. Heavy imports wait until a command needs them."""

import sys
import traceback
from bdb import BdbQuit
from importlib.metadata import version
from typing import Annotated

import typer

from harness.cli import (
    cache,
    command,
    data,
    options,
    output,
    protocol,
    report,
    results,
    run,
    show,
    shown,
    site,
    store,
    submit,
    trying,
    tuned,
    usage,
)
from harness.cli.command import NoColor, Quiet
from harness.cli.secrets import hide_passwords
from harness.errors import BadInput
from harness.io.cores import let_waiting_threads_sleep
from harness.planning import builtin

app = typer.Typer(
    name="harness",
    cls=command.Group,
    help=(
        "Tune, train, score and rank visual prompt tuning methods. Start with `harness run`, which"
        " needs no arguments."
    ),
    epilog=command.epilog(""),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
PANELS = {
    "Measure": {
        "run": run.run,
        "ablate": run.ablate,
        "status": show.status,
        "try": trying.try_,
        "reproduce": tuned.reproduce,
    },
    "Look at results": {
        "report": report.report,
        "compare": report.compare,
        "show": show.show,
    },
    "Share with others": {"submit": submit.submit, "site": site.site},
    "Use what was tuned": {"export": tuned.export, "predict": tuned.predict},
    "Names, data and files": {"list": show.list_},
}
"""The commands, by what they are for."""
for panel, named in PANELS.items():
    for name, function in named.items():
        command.add(app, name, function, panel)
for room in (data, results, store, protocol, cache):
    app.add_typer(
        room.app,
        name=room.__name__.rpartition(".")[2],
        rich_help_panel="Names, data and files",
    )


def _print_version(wanted: bool) -> None:
    """Prints the versions of the harness and of what its numbers depend on most, without importing
    anything."""
    if wanted:
        print(f"harness {version('vpt-harness')}")
        for name in ("torch", "timm", "ray", "optuna"):
            print(f"{name} {version(name)}")
        raise typer.Exit


@app.callback()
def _before(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show versions and exit.",
            callback=_print_version,
            is_eager=True,
        ),
    ] = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> None:
    shown.quiet = False
    command.show(quiet, no_color)


def main() -> None:
    """The entry point: a `BadInput` becomes one line per fault and exit code 2, and so does a wrong
    flag."""
    hide_passwords()
    output.prepare()
    let_waiting_threads_sleep()
    try:
        builtin.check()
        code = usage.called(app)
        sys.stdout.flush()  # so that a failed write is reported, not a success
        sys.exit(code)
    except BadInput as error:
        if options.debugging():
            traceback.print_exception(error)
        for line in str(error).splitlines():
            print(f"harness: {line}", file=sys.stderr)
        sys.exit(2)
    except output.Unwritten as unwritten:
        output.end(unwritten)
    except (KeyboardInterrupt, BdbQuit):  # the latter by q in a debugger
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
