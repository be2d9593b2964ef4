"""What a database holds: nothing, our tables of some schema, or another program's. Making them, and
bringing older ones up to date."""

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
"""Of PostgreSQL's advisory locks, the one that whoever makes or migrates tables holds:
"vpt_hrns"."""

MIGRATIONS = Path(__file__).parent / "migrations"

_TABLES = {record.TABLE.name for record in RECORDS}
"""What every schema has. A view in place of one could have any number of rows."""

_one_at_a_time = threading.Lock()  # Alembic's `op` is one for the whole process


def version(connection: sa.Connection, name: str, mend: str) -> int | None:
    """The schema of our tables; None where the database is empty. Raises `BadInput` where it is
    anything else.

    `name` and `mend`: for the message, what the store is called, and what to do.
    """
    there = sa.inspect(connection).get_table_names()
    if not there:
        return None
    columns = (
        {column["name"] for column in sa.inspect(connection).get_columns("meta")}
        if "meta" in there
        else set()
    )
    meta = (
        {row.name: row.value for row in connection.execute(sa.select(tables.meta))}
        if columns == {"name", "value"}
        else {}
    )
    if meta.get("format") != "vpt-harness":
        some = plain(", ".join(sorted(there)[:3]))[:80]
        raise BadInput(f"{name} is another program's database (tables {some}): {mend}.")
    number = meta.get("schema", "")
    if not re.fullmatch("[1-9][0-9]{0,8}", number) or int(number) > SCHEMA:
        raise BadInput(
            f"{name} has schema {plain(number)[:20] or None}, this harness knows {SCHEMA}: upgrade"
            f" vpt-harness, or {mend}."
        )
    if int(number) < FIRST:
        raise BadInput(
            f"{name} has schema {number}, this harness reads {FIRST} and later: use the version of"
            f" vpt-harness that made it, or {mend}."
        )
    if not set(there) >= _TABLES:
        raise BadInput(f"{name} lacks tables, or has views in their place: {mend}.")
    return int(number)


def alone(connection: sa.Connection) -> None:
    """Until the transaction ends, no other process makes or migrates tables here. On SQLite a
    transaction that writes is alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))


def make(connection: sa.Connection) -> None:
    """Our tables, as they are today, in a database that has none."""
    tables.schema.create_all(connection)
    connection.execute(
        sa.insert(tables.meta),
        [{"name": "format", "value": "vpt-harness"}, {"name": "schema", "value": str(SCHEMA)}],
    )


def migrate(connection: sa.Connection, old: int) -> None:
    """From our tables of schema `old` to today's, by the revisions in `migrations`. Within the
    transaction."""
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
    """A copy of a SQLite store, whole or absent, beside it: `NAME.before-N`, N being the schema
    that it is brought to. Raises `OSError`, `sqlite3.Error`."""
    plain_name = file.with_name(f"{file.name}.before-{SCHEMA}")
    with temporary(plain_name) as part:
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(part)) as into:
            source.backup(into)
        shutil.copymode(file, part)
        synced(part)
        target, number = plain_name, 1
        # of another store that had this name
        while target.exists() and not filecmp.cmp(part, target, shallow=False):
            number += 1
            target = plain_name.with_name(f"{plain_name.name}.{number}")
        part.replace(target)
    return target
