"""From schema to schema: `versions/` has one file a schema, an Alembic revision whose id is the
schema's number.

A new one: change `harness.store.records`, raise its SCHEMA, and write `versions/N_what.py`. Older
stores are read without migrating them, so a new column has a default and says since when it is
there. A database's version is the row `schema` of its table `meta`; there is no `alembic_version`,
and no way back but the copy that was made before.
"""
