"""The first schema: cells, trials, results and failures."""

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "meta",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.String(64), nullable=False),
    )
    op.create_table(
        "cells",
        sa.Column("row", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(64), nullable=False, unique=True),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
    )
    op.create_table(
        "trials",
        sa.Column("cell", sa.String(64), sa.ForeignKey("cells.key"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("curve", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("units", sa.Double, nullable=False),
        sa.Column("provenance", sa.Text, nullable=False),
    )
    op.create_table(
        "results",
        sa.Column("row", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(12), nullable=False, unique=True),
        sa.Column("cell", sa.String(64), sa.ForeignKey("cells.key"), nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("trainable", sa.BigInteger, nullable=False),
        sa.Column("head_params", sa.BigInteger, nullable=False),
        sa.Column("logits_sha256", sa.String(64), nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("memory", sa.BigInteger, nullable=False),
        sa.Column("units", sa.Double, nullable=False),
        sa.Column("curve", sa.Text, nullable=False),
        sa.Column("provenance", sa.Text, nullable=False),
        sa.Column("created", sa.String(40), nullable=False),
        sa.UniqueConstraint("cell", "seed"),
    )
    op.create_table(
        "failures",
        sa.Column("cell", sa.String(64), sa.ForeignKey("cells.key"), primary_key=True),
        sa.Column("seed", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created", sa.String(40), nullable=False),
    )
