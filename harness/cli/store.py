"""`harness store`: whether a store is sound, and bringing an older one up to date. Thin, like
`cli.py`."""

import typer

from harness.cli.options import Store
from harness.io.flags import DEFAULT_STORE
from harness.text import some

app = typer.Typer(
    help="Check a store, or bring an older one up to date.",
    no_args_is_help=True,
    add_completion=False,
)

SHOWN = 50
"""Faults that are told one by one."""


@app.command()
def check(store: Store = DEFAULT_STORE) -> None:
    """Look through rows, leases and checkpoints for what can't be right. Changes nothing; exit code
    1 where there is a fault."""
    from harness.store import Store as ResultStore
    from harness.store.check import check as look_through

    opened = ResultStore(store)
    found = look_through(opened)
    counts = ", ".join(some(count, name.removesuffix("s")) for name, count in found.counts.items())
    print(f"{opened.name}: schema {found.schema}, {counts}")
    for line in found.notes:
        print(f"note: {line}")
    for line in found.faults[:SHOWN]:
        print(f"fault: {line}")
    if len(found.faults) > SHOWN:
        print(f"... and {len(found.faults) - SHOWN:,} more")
    print(f"{some(len(found.faults), 'fault')}." if found.faults else "No fault.")
    if found.faults:
        raise typer.Exit(1)


@app.command()
def migrate(store: Store = DEFAULT_STORE) -> None:
    """Bring the tables of an older store up to date; a run would do it too. A SQLite file is copied
    beside itself first."""
    from harness.errors import BadInput
    from harness.store import SCHEMA
    from harness.store import Store as ResultStore

    opened = ResultStore(store, say=print)
    before = opened.migrate()
    if before is None:
        raise BadInput(f"there is no store {opened.name}.")
    if before == SCHEMA:
        print(f"{opened.name} is up to date: schema {SCHEMA}.")
