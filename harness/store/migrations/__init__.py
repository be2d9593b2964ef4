"""From schema to schema: `versions/` has one file per schema, an Alembic revision whose id is the
schema's number.

For a new one, change `harness.store.records`, raise its SCHEMA, and write `versions/N_what.py`.
Older stores are read without migrating them, so a new column has a default and a `since`. A
database's version is the row `schema` of its table `meta`; there is no `alembic_version`, and no
way back except the copy that is made before.
"""
