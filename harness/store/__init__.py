"""Results in SQL: the calls that read and write them (`database`) and what a row is (`records`).

Behind the calls: where a store is (`url`), its transactions (`engine`), what they wait for
(`retry`), its tables (`tables`) and their versions (`schema`, `migrations`), who works on what
(`leases`), whether a row is valid (`validate`), and whether a store is consistent (`check`).
"""

from harness.store.database import Duplicate, DuplicateResult, DuplicateTrial, Store
from harness.store.engine import LONGEST
from harness.store.leases import Lease, LeaseLost, gone, new_owner
from harness.store.records import (
    CHECKPOINT_BYTES,
    FLOPS,
    FLOPS_OVERHEAD,
    FLOPS_SCORED,
    SCHEMA,
    SECONDS_IMAGE,
    WARNINGS,
    Cell,
    Failure,
    Progress,
    Result,
    Trial,
    cell_key,
    result_id,
)

__all__ = [
    "CHECKPOINT_BYTES",
    "FLOPS",
    "FLOPS_OVERHEAD",
    "FLOPS_SCORED",
    "LONGEST",
    "SCHEMA",
    "SECONDS_IMAGE",
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
