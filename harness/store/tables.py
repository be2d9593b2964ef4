"""The tables of a store as they are today, in SQL that SQLite, PostgreSQL and MySQL understand.

A change here is a new schema: see `harness.store.migrations`. What came after the first one says
so: `since`, the schema that brought it.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import sqlalchemy as sa

schema = sa.MetaData()
_Key, _Json = sa.String(64), sa.Text

meta = sa.Table(
    "meta",
    schema,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.String(64), nullable=False),
)
cells = sa.Table(
    "cells",
    schema,
    sa.Column("row", sa.Integer, primary_key=True),  # the order of insertion
    sa.Column("key", _Key, nullable=False, unique=True),
    sa.Column("identity", _Json, nullable=False),
    sa.Column("labels", _Json, nullable=False),
)
trials = sa.Table(
    "trials",
    schema,
    sa.Column("cell", _Key, sa.ForeignKey("cells.key"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("params", _Json, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("curve", _Json, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("units", sa.Double, nullable=False),
    sa.Column("provenance", _Json, nullable=False),
    # since 3: what a run counts when it starts, without reading the trials
    sa.Index("trials_by_state", "cell", "state", "value"),
)
results = sa.Table(
    "results",
    schema,
    # the order of insertion: `created` has only seconds
    sa.Column("row", sa.Integer, primary_key=True),
    sa.Column("id", sa.String(12), nullable=False, unique=True),
    sa.Column("cell", _Key, sa.ForeignKey("cells.key"), nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("params", _Json, nullable=False),
    sa.Column("score", sa.Double, nullable=False),
    sa.Column("trainable", sa.BigInteger, nullable=False),
    sa.Column("head_params", sa.BigInteger, nullable=False),
    sa.Column("logits_sha256", sa.String(64), nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("memory", sa.BigInteger, nullable=False),
    sa.Column("units", sa.Double, nullable=False),
    sa.Column("curve", _Json, nullable=False),
    sa.Column("provenance", _Json, nullable=False),
    sa.Column("created", sa.String(40), nullable=False),
    sa.Column("extras", _Json, info={"since": 2}),  # NULL: none
    sa.UniqueConstraint("cell", "seed"),
)
failures = sa.Table(
    "failures",
    schema,
    sa.Column("cell", _Key, sa.ForeignKey("cells.key"), primary_key=True),
    sa.Column("seed", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("created", sa.String(40), nullable=False),
)
leases = sa.Table(
    "leases",
    schema,
    sa.Column("cell", _Key, sa.ForeignKey("cells.key", ondelete="CASCADE"), primary_key=True),
    sa.Column("owner", sa.String(200), nullable=False),
    sa.Column("expires", sa.Double, nullable=False),  # seconds since 1970, by the database's clock
    info={"since": 2},
)

_Item = TypeVar("_Item")


def batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """A few hundred at a time: what one statement may name in any SQLite."""
    for start in range(0, len(items), 300):
        yield items[start : start + 300]
