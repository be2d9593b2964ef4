"""From schema to schema: `versions/` has one file a schema, an Alembic revision whose id is the
schema's number.

A new one: keep a store of the old schema for the tests (scripts/make_store_sample.py), then raise
`harness.store.SCHEMA`, change `harness.store.tables` and write `versions/N_what.py`. Older stores
are read without migrating them: the columns that they lack say so in `tables`, by `since`. A
database's version is the row `schema` of its table `meta`; there is no `alembic_version`, and no
way back but the copy that was made before.
"""
