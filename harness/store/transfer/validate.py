"""Rows from outside, checked: what is taken into a store is what the harness can have written, and
its keys are true."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from harness.errors import BadInput
from harness.store.columns import Record
from harness.store.records import result_id
from harness.store.transfer.exchange import Rows
from harness.store.validate import fault, named
from harness.text import plain


def checked(rows: Rows, name: str) -> Rows:
    """The rows as they may be stored: labels without control characters, results under the ids that
    follow from their cells and seeds.

    Raises `BadInput` for the first one that the harness can't have written: of another type, not
    finite, out of bounds, there twice, of an absent cell, or with a key that isn't the digest of
    its identity. `name`: of the source, for the message.
    """
    cells = [replace(cell, labels=_plain(cell.labels)) for cell in rows.cells]
    results = [replace(row, id=result_id(row.cell, row.seed)) for row in rows.results]
    _check(cells, name)
    keys = {cell.key for cell in cells}
    for listed in (rows.trials, results, rows.failures):
        _check(listed, name, keys)
    return Rows(cells, rows.trials, results, rows.failures)


def _check(rows: Iterable[Record], name: str, keys: set[str] | None = None) -> None:
    seen: set[str] = set()
    for row in rows:
        what = plain(named(type(row), vars(row)))[:150]
        if problem := fault(row):
            raise BadInput(
                f"{name}: {what}: {problem}. It is damaged or was changed: not imported."
            )
        if what in seen:
            raise BadInput(f"{name}: {what} is there twice: not imported.")
        if keys is not None and vars(row)["cell"] not in keys:
            raise BadInput(f"{name}: {what}: there is no such cell: not imported.")
        seen.add(what)


def _plain(labels: Any) -> Any:
    """Strings of a dict without control characters; anything else as it is, to be refused by its
    form."""
    if not isinstance(labels, dict):
        return labels
    return {
        name: plain(value.encode(errors="replace").decode()) if isinstance(value, str) else value
        for name, value in labels.items()
    }
