"""What a database contains: nothing, our tables in some schema, or another program's. Creates ours,
and migrates older ones."""

import filecmp
import re
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from harness.errors import BadInput
from harness.io.atomic import synced, temporary
from harness.store import tables
from harness.store.columns import FIRST
from harness.store.records import RECORDS, SCHEMA
from harness.text import plain

_LOCK = 0x7670745F68726E73
"""PostgreSQL's advisory lock that is held while tables are created or migrated: "vpt_hrns"."""

MIGRATIONS = Path(__file__).parent / "migrations"

_TABLES = {record.TABLE.name for record in RECORDS}
"""Tables of every schema. A view in place of one could have any number of rows."""

_one_at_a_time = threading.Lock()  # Alembic's `op` is global to the process


def version(connection: sa.Connection, name: str, remedy: str) -> int | None:
    """The schema of our tables; None if the database is empty. Raises `BadInput` if it is anything
    else.

    `name` and `remedy`: for the message, the store's name, and what to do.
    """
    names = sa.inspect(connection).get_table_names()
    if not names:
        return None
    columns = (
        {column["name"] for column in sa.inspect(connection).get_columns("meta")}
        if "meta" in names
        else set()
    )
    meta = (
        {row.name: row.value for row in connection.execute(sa.select(tables.meta))}
        if columns == {"name", "value"}
        else {}
    )
    if meta.get("format") != "vpt-harness":
        shown = plain(", ".join(sorted(names)[:3]))[:80]
        raise BadInput(f"{name} is another program's database (tables {shown}): {remedy}.")
    number = meta.get("schema", "")
    if not re.fullmatch("[1-9][0-9]{0,8}", number) or int(number) > SCHEMA:
        raise BadInput(
            f"{name} has schema {plain(number)[:20] or None}, but this harness knows {SCHEMA}:"
            f" upgrade vpt-harness, or {remedy}."
        )
    if int(number) < FIRST:
        raise BadInput(
            f"{name} has schema {number}, but this harness reads {FIRST} and later: use the"
            f" version of vpt-harness that created it, or {remedy}."
        )
    if not set(names) >= _TABLES:
        raise BadInput(f"{name} lacks tables, or has views in their place: {remedy}.")
    return int(number)


def lock_schema(connection: sa.Connection) -> None:
    """Until the transaction ends, no other process can create or migrate tables here. On SQLite a
    writing transaction is exclusive anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def make(connection: sa.Connection) -> None:
    """Creates our tables, in the current schema, in an empty database."""
    tables.schema.create_all(connection)
    connection.execute(
        sa.insert(tables.meta),
        [{"name": "format", "value": "vpt-harness"}, {"name": "schema", "value": str(SCHEMA)}],
    )


def migrate(connection: sa.Connection, old: int) -> None:
    """Migrates our tables from schema `old` to the current one, by the revisions in `migrations`,
    within the transaction."""
    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from alembic.script import ScriptDirectory

    scripts = list(ScriptDirectory(str(MIGRATIONS)).walk_revisions())
    missing = set(range(old + 1, SCHEMA + 1)) - {int(script.revision) for script in scripts}
    if missing:
        raise RuntimeError(f"{MIGRATIONS}/versions has no revision {min(missing)}")
    with _one_at_a_time, Operations.context(MigrationContext.configure(connection)):
        for script in reversed(scripts):
            if old < int(script.revision) <= SCHEMA:
                script.module.upgrade()
    connection.execute(
        sa.update(tables.meta).where(tables.meta.c.name == "schema").values(value=str(SCHEMA))
    )


def copy(file: Path) -> Path:
    """Copies a SQLite store, atomically, to `NAME.before-N` next to it, N being the schema that it
    is migrated to. Raises `OSError`, `sqlite3.Error`."""
    plain_name = file.with_name(f"{file.name}.before-{SCHEMA}")
    with temporary(plain_name) as part:
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(part)) as into:
            source.backup(into)
        shutil.copymode(file, part)
        synced(part)
        target, number = plain_name, 1
        # the copy of another store that had this name
        while target.exists() and not filecmp.cmp(part, target, shallow=False):
            number += 1
            target = plain_name.with_name(f"{plain_name.name}.{number}")
        part.replace(target)
    return target
