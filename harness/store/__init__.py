"""Results in SQL: what a row says (`rows`), the tables (`tables`), and the calls that read and write them (`database`)."""

from harness.store.database import LONGEST, SCHEMA, Duplicate, DuplicateResult, DuplicateTrial, Store
from harness.store.rows import Cell, Failure, Result, Trial, cell_key, result_id

__all__ = [
    "LONGEST",
    "SCHEMA",
    "Cell",
    "Duplicate",
    "DuplicateResult",
    "DuplicateTrial",
    "Failure",
    "Result",
    "Store",
    "Trial",
    "cell_key",
    "result_id",
]
