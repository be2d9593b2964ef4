"""Leases: a cell belongs to one driver at a time, for as long as that driver renews.

A driver gets a name from `new_owner()`, adds its cells to the store, then
1. leases what it is about to work on: `store.lease(keys, owner, 60, at_most=8)` returns the keys
that it got, first ones first;
2. renews well before they expire, after a third of the time: `store.renew(owner, 60)` returns what
it still holds. A cell that is missing has gone to another driver (this one was suspended, or cut
   off): its study must be dropped, and rebuilt if it comes back;
3. stores trials with `held_by=owner`, so that a driver that was cut off adds none to a search that
now belongs to another (`LeaseLost`);
4. releases a cell that is done, or all: `store.release(owner, keys)`, `store.release(owner)`.
If it gets nothing, others have everything: wait, and try again. A dead driver's cells are free when
its leases expire; if it is known to be `gone`, others may release them.

All times are the database's, so the drivers' clocks don't matter. If the database's clock jumps
ahead, leases expire early; then two drivers may work on a cell, but each row is still stored once:
results are unique by (cell, seed), trials by (cell, number).
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
    """Until it expires, by the database's clock; negative if it has expired, and the cell is
    free."""


class LeaseLost(RuntimeError):
    """A row belongs to a cell that another driver now holds."""


def new_owner() -> str:
    """A unique name for this driver: HOST/MACHINE/PROCESS/8 hex digits."""
    return f"{socket.gethostname()[:150]}/{_machine()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"


def gone(owner: str) -> bool:
    """Whether this driver ran on this machine, since its last boot, and has ended: nobody needs to
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
    """8 hex digits that differ between machines, boots, and containers with separate process
    ids."""
    facts = [str(uuid.getnode())]
    with suppress(OSError):
        facts += [
            Path("/proc/sys/kernel/random/boot_id").read_text(),
            os.readlink("/proc/self/ns/pid"),
        ]
    return hashlib.sha256("".join(facts).encode()).hexdigest()[:8]


def take(
    connection: sa.Connection,
    cells: Iterable[str],
    owner: str,
    seconds: float,
    at_most: int | None = None,
) -> set[str]:
    """Leases those of `cells` that are free, expired or already `owner`'s, the first `at_most` of
    them; returns which."""
    now, wanted = _now(connection, seconds), list(dict.fromkeys(cells))
    if at_most is not None:
        others = sa.select(leases.c.cell).where(leases.c.owner != owner, leases.c.expires > now)
        held = set(connection.execute(others).scalars())
        wanted = [cell for cell in wanted if cell not in held][:at_most]
    leased = set()
    wanted.sort()  # all drivers lock rows in the same order, so that they can't deadlock
    for batch in batches(wanted):
        insert = _INSERT[connection.dialect.name](leases).values(
            [{"cell": cell, "owner": owner, "expires": now + seconds} for cell in batch]
        )
        free = sa.or_(leases.c.owner == owner, leases.c.expires <= now)
        new = {"owner": insert.excluded.owner, "expires": insert.excluded.expires}
        connection.execute(
            insert.on_conflict_do_update(index_elements=[leases.c.cell], set_=new, where=free)
        )
        leased |= set(
            connection.execute(
                sa.select(leases.c.cell).where(leases.c.cell.in_(batch), leases.c.owner == owner)
            ).scalars()
        )
    return leased


def renew(connection: sa.Connection, owner: str, seconds: float) -> set[str]:
    """Extends all leases of `owner`, including expired ones that nobody has taken; returns their
    cells."""
    now, is_ours = _now(connection, seconds), leases.c.owner == owner
    connection.execute(sa.update(leases).where(is_ours).values(expires=now + seconds))
    return set(connection.execute(sa.select(leases.c.cell).where(is_ours)).scalars())


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
    """Raises `LeaseLost` unless `owner` holds all these cells; then nobody can take one before
    the transaction ends."""
    held_cells = (
        sa.select(leases.c.cell)
        .where(leases.c.owner == owner, leases.c.cell.in_(list(cells)))
        .with_for_update(read=True)
    )
    lost = set(cells) - set(connection.execute(held_cells).scalars())
    if lost:
        raise LeaseLost(f"cell {min(lost)} is no longer leased by {owner}")


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
