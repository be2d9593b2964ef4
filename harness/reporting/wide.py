"""What a store holds, as frames: one row per final run or trial, with a column for each
hyper-parameter."""

from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar

import pandas as pd

from harness.reporting.rows import costs
from harness.store import Cell, Failure, Result, Store, Trial, result_id
from harness.store.records import by_name

_Row = TypeVar("_Row", Result, Trial, Failure)
_ABOUT: dict[str, Callable[[Cell], Any]] = {
    "variant": lambda cell: cell.labels["variant"],
    "method": lambda cell: cell.identity["method"]["name"],
    "task": lambda cell: cell.identity["task"]["name"],
    "suite": lambda cell: cell.labels["suite"],
    "backbone": lambda cell: cell.identity["backbone"]["name"],
    "protocol": lambda cell: cell.labels["protocol"],
    "metric": lambda cell: cell.labels["metric"],
}
"""Columns that identify a row."""
_RESULT = ("trainable", "train_only", "head_params", "seconds", "memory", "units")


def results(store: Store, cells: Collection[str] | None = None) -> pd.DataFrame:
    """One row per final run, in the order they were stored. `cells`: keys; None: all.

    Columns: `id`, `variant`, `method`, `task`, `suite`, `backbone`, `protocol`, `metric`, `seed`,
    `score` (percent, on test); the hyper-parameters, those of the method and of the protocol, by
    their names (`param_NAME` if another column has that name); `trainable` (values, without the
    head), `train_only` (values that predictions don't need), `head_params`, `seconds`, `memory`
    (bytes), `units` (forward-image units); `flops`, `flops_scored` and `flops_overhead` (operations
    a training image, a scored one, and of that beyond a linear probe's, once merged: counted for a
    cell's first seed), `seconds_image`, `checkpoint_bytes` (these five are NaN where a run lacks
    them; `docs/costs.md`); `created`. V-PETL Bench's PPT isn't here, since it is of a mean over
    tasks: `report` has it.
    """
    known = _known(store, cells)
    return _frame(
        (
            known[row.cell],
            {"id": row.id, **_about(known[row.cell]), "seed": row.seed, "score": row.score},
            row.params,
            {name: getattr(row, name) for name in _RESULT}
            | costs(row.extras)
            | {"created": row.created},
        )
        for row in _of(store.results, known, cells)
    )


def trials(store: Store, cells: Collection[str] | None = None) -> pd.DataFrame:
    """One row per trial of the searches. Columns: those of `results`, with `number`, `state`
    (`complete`, `pruned` or `failed`), `score` (percent, on val; a pruned trial's last) and
    `reason` in place of a final run's."""
    known = _known(store, cells)
    return _frame(
        (
            known[row.cell],
            {
                **_about(known[row.cell]),
                "number": row.number,
                "state": row.state,
                "score": row.value,
            },
            row.params,
            {"reason": row.reason, "seconds": row.seconds, "units": row.units},
        )
        for row in _of(store.trials, known, cells)
    )


def curves(store: Store, cells: Collection[str] | None = None) -> pd.DataFrame:
    """What was measured while training: one row per value. Columns: those that identify a row;
    `trial` (its number) or `seed`, the other one missing; `curve`, which is `val` or `test` (the
    score in percent), `loss`, `lr` or what the method logs; `epoch` (in segmentation, the
    iteration), counted from 1; `value`, NaN where it wasn't finite."""
    known = _known(store, cells)
    told = [
        *((row, {"trial": row.number}, "val") for row in _of(store.trials, known, cells)),
        *((row, {"seed": row.seed}, "test") for row in _of(store.results, known, cells)),
    ]
    rows = [
        {**_about(known[row.cell]), **which, "curve": name, "epoch": epoch, "value": value}
        for row, which, split in told
        for name, points in (
            (split, sorted(row.curve.items())),
            *by_name(row.curves).items(),
        )
        for epoch, value in points
    ]
    frame = pd.DataFrame(rows, columns=[*_ABOUT, "trial", "seed", "curve", "epoch", "value"])
    return frame.astype({"trial": "Int64", "seed": "Int64", "epoch": int, "value": float})


def failures(store: Store, cells: Collection[str] | None = None) -> pd.DataFrame:
    """One row per final run that is missing because it failed: what it is, `seed`, `reason` (a
    line) and `traceback` (or None)."""
    known = _known(store, cells)
    done = {(run["cell"], run["seed"]) for run in store.runs(("cell", "seed"))}
    rows = [
        {
            "id": result_id(row.cell, row.seed),
            **_about(known[row.cell]),
            "seed": row.seed,
            "reason": row.line,
            "traceback": row.traceback,
        }
        for row in _of(store.failures, known, cells)
        if (row.cell, row.seed) not in done
    ]
    return pd.DataFrame(rows, columns=["id", *_ABOUT, "seed", "reason", "traceback"])


def _known(store: Store, cells: Collection[str] | None) -> dict[str, Cell]:
    return {key: cell for key, cell in store.cells().items() if cells is None or key in cells}


def _of(
    read: Callable[[str | None], list[_Row]], known: Collection[str], cells: Collection[str] | None
) -> list[_Row]:
    """Rows of these cells; if `cells` are given, read one by one rather than filtered."""
    if cells is None:
        return [row for row in read(None) if row.cell in known]
    return [row for key in cells for row in read(key)]


def _about(cell: Cell) -> dict[str, Any]:
    return {name: value(cell) for name, value in _ABOUT.items()}


def _frame(
    rows: Iterable[tuple[Cell, dict[str, Any], dict[str, Any], dict[str, Any]]],
) -> pd.DataFrame:
    """Rows of: cell, columns before the hyper-parameters, what was chosen, columns after them."""
    listed = list(rows)
    before = list(dict.fromkeys(name for _, first, _, _ in listed for name in first))
    after = list(dict.fromkeys(name for *_, last in listed for name in last))
    params = [_fixed(cell) | chosen for cell, _, chosen, _ in listed]
    names = list(dict.fromkeys(name for of_row in params for name in of_row))
    column = {name: f"param_{name}" if name in {*before, *after} else name for name in names}
    frame = pd.DataFrame(
        [
            {**first, **{column[name]: value for name, value in of_row.items()}, **last}
            for (_, first, _, last), of_row in zip(listed, params, strict=True)
        ],
        columns=[*before, *column.values(), *after],
    )
    kinds = {
        column[name]: {int: "Int64", bool: "boolean"}.get(kind)
        for name in names
        if len(types := {type(of_row[name]) for of_row in params if name in of_row}) == 1
        for kind in types
    }
    # whole numbers and flags stay so where some rows lack them
    return frame.astype({name: kind for name, kind in kinds.items() if kind})


def _fixed(cell: Cell) -> dict[str, Any]:
    """What a variant fixes, and what it leaves at its default; cells from elsewhere may lack the
    latter."""
    settled = cell.labels.get("arguments")
    return {
        **(settled if isinstance(settled, dict) else {}),
        **cell.identity["method"]["arguments"],
    }
