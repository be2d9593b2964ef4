"""An index of trials by state: a run counts them when it starts, and picks the best, without
reading them all."""

from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    op.create_index("trials_by_state", "trials", ["cell", "state", "value"])
