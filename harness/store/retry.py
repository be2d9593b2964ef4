"""Databases that are busy, gone or full: what is worth waiting for, how long, and what is said
meanwhile."""

import errno
import random
import re
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from harness.errors import BadInput
from harness.store.url import Address

PATIENCE = 120.0
"""Seconds that a call waits for a database that is locked, restarting or out of reach."""

QUIET = 1.0
"""Seconds of waiting that nobody is told of."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_WRITING = {
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_FSYNC,
}
"""What SQLite says of a quota that is used up, or a file that may grow no more: FULL is for ENOSPC
alone."""
_PASSING = re.compile(r"08...|57P0[123]|53300|53400|40001|40P01|55P03|25P03")
"""SQLSTATEs that pass: connection lost, server shut down or starting, too many connections,
deadlock, a lock held too long."""

_STARTING = re.compile(
    r"starting up|shutting down|recovery mode|not yet accepting|too many"
    r" (clients|connections)|connection slots"
)
_REFUSED = re.compile(
    r"FATAL|password|authentication|not support SSL|certificate|resolve host|translate host"
    r" name|does not exist|denied|invalid"
)

_Found = TypeVar("_Found")


def passes(error: DBAPIError, answered: bool) -> bool:
    """Whether waiting may help. `answered`: whether this database has taken a connection before, so
    that its address and password are good.

    A server that refuses a connection says why only in words (no SQLSTATE reaches the client),
    maybe in another language: what isn't known for a refusal is waited for.
    """
    if isinstance(error.orig, sqlite3.Error):
        # Python's own have none, as of a text that isn't UTF-8
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _BUSY
    state = getattr(error.orig, "sqlstate", None)
    if state:
        return _PASSING.fullmatch(state) is not None
    if error.connection_invalidated:
        return True
    if error.statement is not None or not isinstance(error, OperationalError | InterfaceError):
        return False
    said = str(error.orig)
    return answered or _STARTING.search(said) is not None or _REFUSED.search(said) is None


def no_room(error: BaseException) -> bool:
    """Whether a disk is full, or a quota used up."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    said = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(said, "sqlite_errorcode", None) or 0
    return (
        code & 0xFF == sqlite3.SQLITE_FULL
        or code in _WRITING
        or getattr(said, "sqlstate", None) == "53100"
    )


def patiently(
    attempt: Callable[[bool], _Found],
    of: Address,
    patience: float,
    say: Callable[[str], None],
    passing: Callable[[DBAPIError], bool],
) -> _Found:
    """Calls `attempt` until it comes through, with longer and longer pauses; raises `BadInput`
    after `patience` seconds.

    It is called with False the first time, then with True: what it did before may have been carried
    out, though no answer came.
    """
    start, pause, told, again = time.monotonic(), _FIRST_PAUSE, False, False
    while True:
        try:
            found = attempt(again)
            break
        except DBAPIError as error:
            if not passing(error):
                raise
            again, waited, why = True, time.monotonic() - start, of.line(error)
            if waited + pause > patience:
                raise BadInput(
                    f"store {of.name} has not answered for {waited:.0f} s ({why}). All that was"
                    " stored is safe: see to the database, then give the same command again."
                ) from error
        if not told and waited > QUIET:
            told = True
            say(f"the store {of.name} does not answer ({why}): waiting, up to {patience:.0f} s ...")
        time.sleep(pause * random.uniform(0.5, 1.0))  # not all drivers at once
        pause = min(2 * pause, _LONGEST_PAUSE)
    if told:
        say(f"the store {of.name} answers again, after {time.monotonic() - start:.0f} s.")
    return found
