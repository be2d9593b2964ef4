"""How far apart two runs of a row may be on CUDA and still count as the same."""

from harness.planning.registry import built_in
from harness.store.records import Cell
from harness.store.transfer.reproduced import CUDA_TOLERANCE


def tolerance(cell: Cell) -> float:
    """In percentage points: what a built-in method's class says as `rounding`. A method of somebody
    else's can't set it, for it would then say what counts as its own reproduction."""
    method = cell.identity["method"]
    known = None if method.get("source") else built_in(method["name"])
    return CUDA_TOLERANCE if known is None else known.rounding
