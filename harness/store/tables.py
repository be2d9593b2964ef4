"""The current tables of a store, in SQL that SQLite, PostgreSQL and MySQL understand: those of the
records, and a few more.

Any change needs a new schema: see `harness.store.migrations`.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import sqlalchemy as sa

from harness.store.columns import Column, StoredRecord, columns
from harness.store.records import RECORDS, Cell, Failure, Result, Trial

schema = sa.MetaData()


def _table(record: type[StoredRecord]) -> sa.Table:
    about = record.TABLE
    first, *others = (sa.UniqueConstraint(*names) for names in about.keys)
    if not about.ordered:
        first = sa.PrimaryKeyConstraint(*about.keys[0])
    return sa.Table(
        about.name,
        schema,
        *([sa.Column("row", sa.Integer, primary_key=True)] if about.ordered else []),
        *(_column(column) for column in columns(record)),
        *(first, *others),
        *(sa.Index(name, *names) for name, names in about.indexes.items()),
    )


def _column(column: Column) -> sa.Column:
    refers = [sa.ForeignKey("cells.key")] if column.name == "cell" else []
    return sa.Column(
        column.name, column.type, *refers, nullable=column.optional, autoincrement=False
    )


meta = sa.Table(
    "meta",
    schema,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.String(64), nullable=False),
)
of = {record: _table(record) for record in RECORDS}
cells, trials, results, failures = of[Cell], of[Trial], of[Result], of[Failure]
leases = sa.Table(
    "leases",
    schema,
    sa.Column(
        "cell", sa.String(64), sa.ForeignKey("cells.key", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("owner", sa.String(200), nullable=False),
    sa.Column("expires", sa.Double, nullable=False),  # seconds since 1970, by the database's clock
)

_Item = TypeVar("_Item")


def batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """A few hundred at a time: as many as a statement may name in any SQLite."""
    for start in range(0, len(items), 300):
        yield items[start : start + 300]
