"""What a run logged of its steps, and how many of its values only training needs."""

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    op.add_column("trials", sa.Column("curves", sa.Text(), nullable=True))
    op.add_column("results", sa.Column("train_only", sa.BigInteger(), nullable=True))
    op.add_column("results", sa.Column("curves", sa.Text(), nullable=True))
