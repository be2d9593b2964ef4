"""Databases that are busy, unreachable or full: what to wait for, how long, and what to print
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
"""Seconds that a call waits for a database that is locked, restarting or unreachable."""

QUIET = 1.0
"""Seconds of waiting that aren't reported."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_WRITING = {
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_FSYNC,
}
"""SQLite's codes for an exhausted quota, or a file that may not grow: FULL is only for ENOSPC."""
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

_T = TypeVar("_T")


def passes(error: DBAPIError, answered: bool) -> bool:
    """Whether waiting may help. `answered`: whether this database has accepted a connection before,
    so that its address and password are right.

    A server that refuses a connection gives the reason only in words (no SQLSTATE reaches the
    client), maybe in another language: so we wait unless it is a known refusal.
    """
    if isinstance(error.orig, sqlite3.Error):
        # Python's own errors have none, for example for text that isn't UTF-8
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _BUSY
    state = getattr(error.orig, "sqlstate", None)
    if state:
        return _PASSING.fullmatch(state) is not None
    if error.connection_invalidated:
        return True
    if error.statement is not None or not isinstance(error, OperationalError | InterfaceError):
        return False
    message = str(error.orig)
    return answered or _STARTING.search(message) is not None or _REFUSED.search(message) is None


def no_room(error: BaseException) -> bool:
    """Whether a disk is full, or a quota exhausted."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    original = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(original, "sqlite_errorcode", None) or 0
    return (
        code & 0xFF == sqlite3.SQLITE_FULL
        or code in _WRITING
        or getattr(original, "sqlstate", None) == "53100"
    )


def patiently(
    attempt: Callable[[bool], _T],
    address: Address,
    patience: float,
    say: Callable[[str], None],
    passing: Callable[[DBAPIError], bool],
) -> _T:
    """Calls `attempt` until it succeeds, with increasing pauses; raises `BadInput` after `patience`
    seconds.

    It is called with False the first time, then with True: what it did before may have taken effect
    although no response came.
    """
    start, pause, announced, again = time.monotonic(), _FIRST_PAUSE, False, False
    while True:
        try:
            result = attempt(again)
            break
        except DBAPIError as error:
            if not passing(error):
                raise
            again, waited, why = True, time.monotonic() - start, address.line(error)
            if waited + pause > patience:
                raise BadInput(
                    f"store {address.name} hasn't responded for {waited:.0f} s ({why}). Everything"
                    " stored is safe: check the database, then run the same command again."
                ) from error
        if not announced and waited > QUIET:
            announced = True
            say(
                f"the store {address.name} doesn't respond ({why}): waiting up to {patience:.0f} s"
                " ..."
            )
        time.sleep(pause * random.uniform(0.5, 1.0))  # not all drivers at once
        pause = min(2 * pause, _LONGEST_PAUSE)
    if announced:
        say(f"the store {address.name} responds again, after {time.monotonic() - start:.0f} s.")
    return result
