"""Leases, so that several drivers share the cells of a store; and what else a result measured,
beside its score."""

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column(
            "cell", sa.String(64), sa.ForeignKey("cells.key", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
    )
    op.add_column("results", sa.Column("extras", sa.Text))
