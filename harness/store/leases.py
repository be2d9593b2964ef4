"""Leases: a cell is one driver's at a time, for as long as that driver renews.

A driver names itself with `new_owner()`, adds its cells to the store, then
1. takes what it is about to work on: `store.lease(keys, owner, 60, at_most=8)` gives back the keys
that it won, first ones first;
2. renews well before they expire, at a third of the time: `store.renew(owner, 60)` gives back what
is still its own. A cell that isn't
   among them has gone to another driver (this one was asleep, or cut off): its study must be
   dropped, and rebuilt where it comes back;
3. stores trials with `held_by=owner`, so that a driver that was cut off adds none to a search that
is another's now (`LeaseLost`);
4. gives back a cell that is done, or all: `store.release(owner, keys)`, `store.release(owner)`.
Where nothing is won, others have it all: wait, and ask again. A dead driver's cells are free when
its leases expire; of one that is known
to be `gone`, others may release them.

All times are the database's own, so the drivers' clocks don't matter. Should the database's clock
jump ahead, leases expire early; then two drivers may work on a cell, but what each stores is still
there once: results are unique by (cell, seed), trials by (cell, number).
"""

import hashlib
import math
import os
import socket
import uuid
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from harness.errors import BadInput
from harness.store.tables import batches, leases

_INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_CLOCK = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "extract(epoch from clock_timestamp())::float8",
}
"""Seconds since 1970."""


@dataclass(frozen=True)
class Lease:
    """Who holds a cell."""

    cell: str
    owner: str
    seconds: float
    """Until it expires, by the database's clock; negative where it has expired, and the cell is
    free."""


class LeaseLost(RuntimeError):
    """A row of a cell that another driver holds now."""


def new_owner() -> str:
    """A name for this driver that no other has: HOST/MACHINE/PROCESS/8 hex digits."""
    return f"{socket.gethostname()[:150]}/{_machine()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"


def gone(owner: str) -> bool:
    """Whether this driver ran on this machine, since it was started, and runs no more: nobody need
    wait until its leases expire."""
    parts = owner.split("/")
    if len(parts) != 4 or parts[:2] != new_owner().split("/")[:2]:
        return False
    try:
        os.kill(int(parts[2]), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return True
    except PermissionError:
        pass
    return False


def _machine() -> str:
    """8 hex digits that differ between machines, starts of one, and containers that number their
    processes apart."""
    told = [str(uuid.getnode())]
    with suppress(OSError):
        told += [
            Path("/proc/sys/kernel/random/boot_id").read_text(),
            os.readlink("/proc/self/ns/pid"),
        ]
    return hashlib.sha256("".join(told).encode()).hexdigest()[:8]


def take(
    connection: sa.Connection,
    cells: Iterable[str],
    owner: str,
    seconds: float,
    at_most: int | None = None,
) -> set[str]:
    """Leases those of `cells` that are free, expired or `owner`'s already, the first `at_most` of
    them; gives back which."""
    now, wanted = _now(connection, seconds), list(dict.fromkeys(cells))
    if at_most is not None:
        others = sa.select(leases.c.cell).where(leases.c.owner != owner, leases.c.expires > now)
        held = set(connection.execute(others).scalars())
        wanted = [cell for cell in wanted if cell not in held][:at_most]
    won = set()
    wanted.sort()  # all drivers take rows in one order, so that none waits for another in a circle
    for some in batches(wanted):
        insert = _INSERT[connection.dialect.name](leases).values(
            [{"cell": cell, "owner": owner, "expires": now + seconds} for cell in some]
        )
        free = sa.or_(leases.c.owner == owner, leases.c.expires <= now)
        new = {"owner": insert.excluded.owner, "expires": insert.excluded.expires}
        connection.execute(
            insert.on_conflict_do_update(index_elements=[leases.c.cell], set_=new, where=free)
        )
        won |= set(
            connection.execute(
                sa.select(leases.c.cell).where(leases.c.cell.in_(some), leases.c.owner == owner)
            ).scalars()
        )
    return won


def renew(connection: sa.Connection, owner: str, seconds: float) -> set[str]:
    """Puts off the end of all leases of `owner`, expired ones too that nobody has taken; gives back
    which cells they are of."""
    now, mine = _now(connection, seconds), leases.c.owner == owner
    connection.execute(sa.update(leases).where(mine).values(expires=now + seconds))
    return set(connection.execute(sa.select(leases.c.cell).where(mine)).scalars())


def release(connection: sa.Connection, owner: str, cells: Collection[str] | None = None) -> None:
    """Ends leases of `owner`: of these cells, or all."""
    connection.execute(
        sa.delete(leases).where(
            leases.c.owner == owner,
            *([leases.c.cell.in_(list(cells))] if cells is not None else []),
        )
    )


def held(connection: sa.Connection) -> list[Lease]:
    """All leases, expired ones too, by cell."""
    now = _now(connection)
    return [
        Lease(row.cell, row.owner, row.expires - now)
        for row in connection.execute(sa.select(leases).order_by(leases.c.cell))
    ]


def must_hold(connection: sa.Connection, owner: str, cells: Collection[str]) -> None:
    """Raises `LeaseLost` unless `owner` holds all these cells; then nobody takes one before the
    transaction ends."""
    mine = (
        sa.select(leases.c.cell)
        .where(leases.c.owner == owner, leases.c.cell.in_(list(cells)))
        .with_for_update(read=True)
    )
    lost = set(cells) - set(connection.execute(mine).scalars())
    if lost:
        raise LeaseLost(f"cell {min(lost)} is no more leased by {owner}")


def _now(connection: sa.Connection, seconds: float = 1.0) -> float:
    """The database's clock."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"a lease of {seconds} seconds")
    if connection.dialect.name not in _CLOCK:
        raise BadInput(
            "several drivers can share a store in SQLite or PostgreSQL, not in"
            f" {connection.dialect.name}: give another --store."
        )
    return float(
        connection.exec_driver_sql(f"SELECT {_CLOCK[connection.dialect.name]}").scalar_one()
    )
