"""The command line: flags in, text out. Heavy imports wait until a command needs them."""

import sys
import traceback
from bdb import BdbQuit
from importlib.metadata import version
from typing import Annotated

import typer

from harness.cli import (
    data,
    options,
    output,
    report,
    results,
    run,
    show,
    site,
    store,
    submit,
    trying,
    tuned,
)
from harness.cli.secrets import hide_passwords
from harness.errors import BadInput
from harness.io.cores import let_waiting_threads_sleep
from harness.planning import builtin

app = typer.Typer(
    name="harness",
    help=(
        "Tune, train, score and rank visual prompt tuning methods. Start with `harness run`, which"
        " needs no arguments."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (run.run, run.ablate, report.report, show.status, report.compare):
    app.command()(command)
app.command("list")(show.list_)
app.command("try")(trying.try_)
for command in (show.show, tuned.reproduce, tuned.export, tuned.predict):
    app.command()(command)
for command in (submit.submit, site.site):
    app.command()(command)
for room in (data, results, store):
    app.add_typer(room.app, name=room.__name__.rpartition(".")[2])


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
) -> None:
    pass


def main() -> None:
    """The entry point: a `BadInput` becomes one line per fault and exit code 2."""
    hide_passwords()
    output.prepare()
    let_waiting_threads_sleep()
    try:
        builtin.check()
        try:
            app(prog_name="harness")
        except SystemExit:
            sys.stdout.flush()  # so that a failed write is reported, not a success
            raise
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
