"""The database of a store: transactions that wait if it is busy or unreachable, tables created on
the first write, errors in one line."""

import os
import sqlite3
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.pool import NullPool, StaticPool

from harness.errors import BadInput
from harness.store import schema as versions
from harness.store.retry import no_room, passes, patiently
from harness.store.url import address, unreadable

LONGEST = 1_000_000
"""Bytes of the longest text to read from somebody else's SQLite file."""

_BUSY_SECONDS = 5
"""How long SQLite itself waits for a lock, ignoring signals."""

LOCK_SECONDS = 30
"""How long PostgreSQL waits for a lock before we take over."""

_COMPUTED = """
SELECT count(*) FROM sqlite_master AS made LEFT JOIN pragma_table_xinfo(made.name) AS of
WHERE made.type IN ('view', 'trigger') OR made.sql LIKE 'create virtual%' OR of.hidden > 0
"""
"""Counts what can make a SQLite file yield more than it contains: an endless view, a computed
column of any length."""

_NETWORK = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""So that a server that vanished silently is noticed within a minute (libpq's names)."""

_T = TypeVar("_T")


class Engine:
    """Connections to one database. `read` and `write` are transactions."""

    def __init__(self, text: str, foreign: bool, say: Callable[[str], None], patience: float):
        self.address = address(text)
        self.foreign, self.say, self.patience = foreign, say, patience
        self.remedy = "download or copy it again" if foreign else "give another --store"
        self._current = False  # whether our tables are known to exist, in the current schema
        self._answered = False
        file, psycopg, options = (
            self.address.file,
            self.address.url.drivername == "postgresql+psycopg",
            dict[str, Any](),
        )
        if self.address.backend == "sqlite":
            options = {
                "poolclass": NullPool if file else StaticPool,
                "connect_args": {"timeout": _BUSY_SECONDS},
            }
        elif psycopg:
            query = self.address.url.query
            options = {
                "connect_args": {key: value for key, value in _NETWORK.items() if key not in query}
            }
        try:
            self._engine = sa.create_engine(self.address.url, **options)
        except (ArgumentError, NoSuchModuleError, ValueError) as error:
            raise unreadable(text) from error
        except ModuleNotFoundError as error:
            extra = " (pip install 'vpt-harness[postgres]')" if error.name == "psycopg" else ""
            raise BadInput(
                f"store {self.address.name}: install its driver, {error.name}{extra}."
            ) from error
        # a store that is garbage-collected leaves no pooled connection open
        weakref.finalize(self, self._engine.dispose)
        if self.address.backend == "sqlite":
            event.listen(self._engine, "do_connect", self._connect_unlocked)
            event.listen(self._engine, "connect", _set_up_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
            if foreign:
                event.listen(self._engine, "connect", _set_up_foreign)
        elif psycopg:
            event.listen(self._engine, "connect", _set_up_postgresql)

    def read(self, work: Callable[[sa.Connection, int], _T], absent: _T) -> _T:
        """Calls `work` with one snapshot of the data and its schema; returns `absent` if there is
        no store yet."""
        file = self.address.file

        def attempt(_: bool) -> _T:
            if file is not None and not file.exists():
                return absent
            with (
                self._engine.connect().execution_options(**self._one_view) as connection,
                connection.begin(),
            ):
                self._answered = True
                schema = versions.SCHEMA if self._current else self._version(connection)
                self._current = schema == versions.SCHEMA
                return absent if schema is None else work(connection, schema)

        return self._carried_out(attempt)

    def write(self, work: Callable[[sa.Connection, bool], _T]) -> _T:
        """One transaction: committed when `work` returns, rolled back if it raises. Creates or
        migrates the tables first.

        `work` may be called again, then with True: its rows may be stored already, by a commit
        whose response was lost.
        """
        if self.foreign:
            raise BadInput(f"store {self.address.name} can't be written: it was opened read-only.")

        def attempt(again: bool) -> _T:
            self._make_ready()
            with (
                self._engine.connect().execution_options(immediate=True) as connection,
                connection.begin(),
            ):
                self._answered = True
                return work(connection, again)

        return self._carried_out(attempt)

    def check_writable(self) -> None:
        """Raises `BadInput` where nothing can be made in the folder of an SQLite file, or in the
        first one above it that is there, or the file is for reading alone."""
        if self.address.file is None:
            return
        file = self.address.file.absolute()
        folder = next(one for one in file.parents if one.exists())
        try:
            with tempfile.TemporaryFile(dir=folder):
                why = "its file is for reading alone"
        except OSError as error:
            why = f"nothing can be made in {folder} ({error.strerror})"
        else:
            if not file.exists() or os.access(file, os.W_OK):
                return
        raise BadInput(
            f"store {self.address.name} can't be written: {why}. Fix it, or {self.remedy}."
        )

    @property
    def changed(self) -> int:
        """When an SQLite file, or its log, last changed: nanoseconds since 1970. Raises `OSError`
        where there is none."""
        file = self.address.file
        if file is None:
            raise FileNotFoundError(self.address.name)
        log = _log(file)
        return max(one.stat().st_mtime_ns for one in (file, *([log] if log else [])))

    def migrate(self) -> int | None:
        """Migrates the tables; returns their previous schema, None if there were none (and still
        aren't)."""
        if self.read(lambda _, schema: schema, None) is None:
            return None
        versions_before = []
        self._carried_out(lambda _: versions_before.append(self._make_ready()))
        return versions_before[-1] or versions.SCHEMA

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Keeps an idle connection: when the last one closes, SQLite moves its log into the
        file."""
        with ExitStack() as held:
            if self.address.file is not None and self.address.file.exists():
                held.enter_context(closing(self._engine.raw_connection()))
            yield

    def close(self) -> None:
        self._engine.dispose()

    @property
    def _one_view(self) -> dict[str, Any]:
        """Options of a reading connection: all its statements see the same snapshot, and it can't
        write."""
        if self.address.backend == "postgresql":
            return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        return {}

    def _make_ready(self) -> int | None:
        """Creates missing tables, and migrates older ones; returns the previous schema."""
        file = self.address.file
        if file is not None and not file.exists():
            self._current = False
            file.parent.mkdir(parents=True, exist_ok=True)
        if self._current:
            return None
        with self._engine.connect() as connection, connection.begin():
            self._answered = True
            old = self._version(connection)
        if old is None and file is not None:
            # another process is creating it
            with closing(self._engine.raw_connection()) as raw, suppress(sqlite3.OperationalError):
                # not possible within a transaction; the file remembers it
                raw.cursor().execute("PRAGMA journal_mode=WAL")
        copied = None
        if old != versions.SCHEMA:
            with (
                self._engine.connect().execution_options(immediate=True) as connection,
                connection.begin(),
            ):
                versions.lock_schema(connection)
                old = self._version(connection)  # again: another process may have been faster
                if old is None:
                    versions.make(connection)
                elif old < versions.SCHEMA:
                    copied = versions.copy(file) if file is not None else None
                    versions.migrate(connection, old)
        self._current = True
        if old is not None and old < versions.SCHEMA:
            kept = f"; a copy of the old one is {copied}" if copied else ""
            self.say(
                f"the store {self.address.name} was migrated from schema {old} to"
                f" {versions.SCHEMA}{kept}."
            )
        return old

    def _version(self, connection: sa.Connection) -> int | None:
        """The schema of the store, from `versions.version`; a foreign one may not be empty, and is
        checked for damage first."""
        name = self.address.name
        if (
            self.foreign
            and self.address.backend == "sqlite"
            and connection.exec_driver_sql("PRAGMA quick_check(1)").scalar() != "ok"
        ):
            raise BadInput(f"{name} is damaged: {self.remedy}.")
        if (
            self.foreign
            and self.address.backend == "sqlite"
            and connection.exec_driver_sql(_COMPUTED).scalar()
        ):
            raise BadInput(
                f"{name} has views, triggers or computed columns, which a store never has:"
                f" {self.remedy}."
            )
        version = versions.version(connection, name, self.remedy)
        if version is None and self.foreign:
            raise BadInput(f"{name} is empty: {self.remedy}.")
        return version

    def _carried_out(self, attempt: Callable[[bool], _T]) -> _T:
        """Calls `attempt`, waiting if that helps; reports errors of the database or file system in
        one line."""
        try:
            return patiently(
                attempt,
                self.address,
                self.patience,
                self.say,
                lambda error: passes(error, self._answered),
            )
        except IntegrityError:
            raise
        except (DBAPIError, sqlite3.Error, OSError) as error:
            message = self.address.line(error)
            if no_room(error):
                raise BadInput(
                    f"store {self.address.name}: the disk or quota is full ({message}). Everything"
                    " stored before is safe: free some space, then run the same command again."
                ) from error
            raise BadInput(
                f"store {self.address.name} can't be used: {message}. Fix it, or {self.remedy}."
            ) from error

    def _connect_unlocked(
        self, dialect: sa.Dialect, _: Any, arguments: list[Any], options: dict[str, Any]
    ) -> None:
        """Opens a SQLite file that this user can only read so that it needs no auxiliary files,
        unless it has some.

        A log next to it belongs to a process that is writing, or was killed: then SQLite reads
        both, if permitted.
        """
        file = self.address.file
        if (
            file is None
            or not file.exists()
            or (os.access(file, os.W_OK) and os.access(file.absolute().parent, os.W_OK))
        ):
            return
        immutable = "" if _log(file) else "&immutable=1"
        arguments[0], options["uri"] = (
            f"file:{quote(str(file.absolute()))}?mode=ro{immutable}",
            True,
        )


def _log(file: Path) -> Path | None:
    """Its log, if there is anything in it: whoever reads the file makes an empty one."""
    log = file.with_name(f"{file.name}-wal")
    return log if log.exists() and log.stat().st_size else None


def _set_up_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    # we issue BEGIN: Python's own would leave CREATE TABLE outside the transaction
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    """Writers take their lock immediately, so that they wait for each other rather than fail
    midway."""
    connection.exec_driver_sql(
        "BEGIN IMMEDIATE" if connection.get_execution_options().get("immediate") else "BEGIN"
    )


def _set_up_foreign(connection: sqlite3.Connection, _: Any) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    connection.execute("PRAGMA query_only=ON")
    connection.execute("PRAGMA trusted_schema=OFF")


def _set_up_postgresql(connection: Any, _: Any) -> None:
    """Limits waiting for locks, so that it can be reported, and how long a driver that hangs within
    a transaction can block others: a minute."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {LOCK_SECONDS * 1000:.0f}")
        cursor.execute("SET idle_in_transaction_session_timeout = '60s'")
    connection.commit()
