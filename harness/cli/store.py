"""`harness store`: checks a store, and migrates an older one."""

import typer

from harness.cli.command import Group, registering
from harness.cli.options import Store
from harness.io.flags import DEFAULT_STORE
from harness.text import some

app = typer.Typer(
    cls=Group,
    help="Check a store, or migrate an older one.",
    no_args_is_help=True,
    add_completion=False,
)
command = registering(app, "store")

SHOWN = 50
"""How many faults are listed."""


@command("check")
def check(store: Store = DEFAULT_STORE) -> None:
    """Check rows, leases and checkpoints for inconsistencies. Changes nothing; exit code 1 if there
    is a fault."""
    from harness.store import Store as ResultStore
    from harness.store.check import check as run_check

    opened = ResultStore(store)
    outcome = run_check(opened)
    counts = ", ".join(
        some(count, name.removesuffix("s")) for name, count in outcome.counts.items()
    )
    print(f"{opened.name}: schema {outcome.schema}, {counts}")
    for line in outcome.notes:
        print(f"note: {line}")
    for line in outcome.faults[:SHOWN]:
        print(f"fault: {line}")
    if len(outcome.faults) > SHOWN:
        print(f"... and {len(outcome.faults) - SHOWN:,} more")
    print(f"{some(len(outcome.faults), 'fault')}." if outcome.faults else "No faults.")
    if outcome.faults:
        raise typer.Exit(1)


@command("migrate")
def migrate(store: Store = DEFAULT_STORE) -> None:
    """Migrate the tables of an older store, as a run would. A SQLite file is copied first, next to
    itself."""
    from harness.errors import BadInput
    from harness.store import SCHEMA
    from harness.store import Store as ResultStore

    opened = ResultStore(store, say=print)
    before = opened.migrate()
    if before is None:
        raise BadInput(f"there is no store {opened.name}.")
    if before == SCHEMA:
        print(f"{opened.name} is up to date: schema {SCHEMA}.")
