"""Validates rows from outside: a store only accepts what the harness can have written, with correct
keys."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from harness.errors import BadInput
from harness.store.columns import StoredRecord
from harness.store.records import result_id
from harness.store.transfer.exchange import StoreRows
from harness.store.validate import fault, named
from harness.text import plain


def checked(rows: StoreRows, name: str) -> StoreRows:
    """The rows in storable form: labels without control characters, results with the ids that
    follow from their cells and seeds.

    Raises `BadInput` for the first one that the harness can't have written: of another type, not
    finite, out of bounds, repeated, of a missing cell, or with a key that isn't the digest of its
    identity. `name`: the source's, for the message.
    """
    cells = [replace(cell, labels=_plain(cell.labels)) for cell in rows.cells]
    results = [replace(row, id=result_id(row.cell, row.seed)) for row in rows.results]
    _check(cells, name)
    keys = {cell.key for cell in cells}
    for listed in (rows.trials, results, rows.failures):
        _check(listed, name, keys)
    return StoreRows(cells, rows.trials, results, rows.failures)


def _check(rows: Iterable[StoredRecord], name: str, keys: set[str] | None = None) -> None:
    seen: set[str] = set()
    for row in rows:
        what = plain(named(type(row), vars(row)))[:150]
        if problem := fault(row):
            raise BadInput(
                f"{name}: {what}: {problem}. It is damaged or was altered: not imported."
            )
        if what in seen:
            raise BadInput(f"{name}: {what} occurs twice: not imported.")
        if keys is not None and vars(row)["cell"] not in keys:
            raise BadInput(f"{name}: {what}: there is no such cell: not imported.")
        seen.add(what)


def _plain(labels: Any) -> Any:
    """Strings of a dict without control characters; anything else unchanged, to be refused by
    its type."""
    if not isinstance(labels, dict):
        return labels
    return {
        name: plain(value.encode(errors="replace").decode()) if isinstance(value, str) else value
        for name, value in labels.items()
    }
