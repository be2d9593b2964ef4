"""Results in SQL: the calls that read and write them (`database`) and what a row says (`rows`).

Behind the calls: where a store is (`address`), its transactions (`engine`), what they wait for
(`waiting`), its tables (`tables`) from schema to schema (`versions`, `migrations`), who works on
what (`leases`), and whether it is sound (`check`).
"""

from harness.store.database import Duplicate, DuplicateResult, DuplicateTrial, Store
from harness.store.engine import LONGEST
from harness.store.leases import Lease, LeaseLost, gone, new_owner
from harness.store.records import (
    WARNINGS,
    Cell,
    Failure,
    Progress,
    Result,
    Trial,
    cell_key,
    result_id,
)
from harness.store.schema import SCHEMA

__all__ = [
    "LONGEST",
    "SCHEMA",
    "WARNINGS",
    "Cell",
    "Duplicate",
    "DuplicateResult",
    "DuplicateTrial",
    "Failure",
    "Lease",
    "LeaseLost",
    "Progress",
    "Result",
    "Store",
    "Trial",
    "cell_key",
    "gone",
    "new_owner",
    "result_id",
]
