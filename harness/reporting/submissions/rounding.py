"""How far apart two runs of a row may be on CUDA and still count as the same."""

from harness.planning.registry import built_in
from harness.store.records import Cell
from harness.store.transfer.reproduced import CUDA_TOLERANCE, Record


def is_made_again(record: Record, cell: Cell) -> bool:
    """Whether the two runs of a record, of a result of this cell, count as the same."""
    return record.equal or record.within(_tolerance(cell))


def _tolerance(cell: Cell) -> float:
    """In percentage points: what a built-in method's class, which is imported for it, says as
    `rounding`. A method of somebody else's can't set it, for it would then say what counts as its
    own reproduction."""
    method = cell.identity["method"]
    known = None if method.get("source") else built_in(method["name"])
    return CUDA_TOLERANCE if known is None else known.rounding
