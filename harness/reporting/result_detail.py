"""Everything known about one result, for `harness show`."""

from dataclasses import asdict
from typing import Any

from harness.io import commands
from harness.store import Store, result_id


def detail(store: Store, id: str) -> dict[str, Any]:
    """The result, what it is keyed by, and the trials of its search; `id` may be a prefix.
    Raises `BadInput`."""
    if failed := _failed(store, id):
        return failed
    result, cell = store.result(id)
    extras = {name: value for name, value in result.extras.items() if name != "strip"}  # pictures
    trials = [
        {key: value for key, value in asdict(trial).items() if key not in ("cell", "provenance")}
        for trial in store.trials(cell.key)
    ]
    return {
        **asdict(result),
        "extras": extras,
        "labels": cell.labels,
        "identity": cell.identity,
        "trials": trials,
        "again": commands.again(store, result),
    }


def _failed(store: Store, id: str) -> dict[str, Any] | None:
    """Why a final run failed, with its traceback. None if no single failure has this prefix, or a
    result has it too."""
    prefix = id.strip().lower()
    matches = [
        row
        for row in store.failures()
        if prefix and result_id(row.cell, row.seed).startswith(prefix)
    ]
    if len(matches) != 1 or store.ids(prefix):
        return None
    (row,), cell = matches, store.cells()[matches[0].cell]
    trace = (row.traceback or "").splitlines()
    about = {
        "id": result_id(row.cell, row.seed),
        "failed": row.line,
        "traceback": trace,
        "cell": row.cell,
        "seed": row.seed,
    }
    return {**about, "created": row.created, "labels": cell.labels, "identity": cell.identity}
