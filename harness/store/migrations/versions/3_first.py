"""Where migrations begin: a store of schema 3, as `harness.store.schema.make` made it."""

revision = "3"
down_revision = None


def upgrade() -> None:
    """Nothing: no earlier schema is migrated."""
