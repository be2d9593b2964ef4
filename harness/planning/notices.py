"""Notices before a run starts: stored results from an older version of a method's file, and search
spaces that a protocol couldn't narrow."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

from harness.planning.plan import RunPlan
from harness.planning.search_space import narrowed_to, searched
from harness.store import Store
from harness.store.records import without_code
from harness.text import some


class Labelled(Protocol):
    """A planned cell in words."""

    @property
    def key(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def identity(self) -> dict[str, Any]: ...


def not_narrowed(plan: RunPlan) -> list[str]:
    """A line for variants whose method allows none of a protocol's values."""
    return searched(
        (cell.variant, cell.protocol)
        for cell in plan.cells
        for name, own in cell.variant.method.search_space.items()
        if name in cell.space and narrowed_to(cell.variant, name, own, cell.protocol) is None
    )


def other_code(cells: Iterable[Labelled], store: Store) -> list[str]:
    """A line for results that differ from a plan's only in their method's code."""
    planned_cells = {
        cell.key: cell for cell in cells if {"source", "packages"} & cell.identity["method"].keys()
    }
    if not planned_cells:
        return []
    runs = Counter(run["cell"] for run in store.runs(("cell",)))
    stored = [
        (without_code(cell.identity), runs[key])
        for key, cell in store.cells().items()
        if key in runs and key not in planned_cells
    ]
    older = Counter[str]()
    for cell in planned_cells.values():
        planned = without_code(cell.identity)
        older[cell.label] += sum(count for identity, count in stored if identity == planned)
    return [
        f"{label}: its code has changed since {some(count, 'stored result')}"
        f" {'was' if count == 1 else 'were'} made. {'It stays' if count == 1 else 'They stay'} in"
        " the store; the new code gets new results."
        for label, count in older.items()
        if count
    ]
