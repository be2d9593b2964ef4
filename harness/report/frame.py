"""The store as tidy frames: one row a final run, then one row a square of a leaderboard."""

import hashlib
import json
from collections.abc import Collection
from typing import Any

import pandas as pd

from harness.store import Cell, Store

SECTION = ("backbone_sha", "pooling", "protocol_digest", "metric")
"""What two scores must share to be compared."""

CELL = (
    *("cell", "method", "version", "variant", "task", "suite", "group", "metric", "backbone", "backbone_sha", "pooling"),
    *("protocol", "protocol_digest", "data", "note", "trials", "failed_trials"),
)
SQUARE = ("variant", "task", *SECTION)


def rows(store: Store, cells: Collection[str] | None = None) -> pd.DataFrame:
    """One row a final run, in the order they were stored; of the cells with these keys, or of all.

    Columns: `id`, `seed`, `score` (percent), `trainable` (values, without the head), `seconds`, `memory` (bytes), `units`, `created`, and
    those of `CELL`.
    """
    known = _cells(store, cells)
    columns = ("id", "seed", "score", "trainable", "seconds", "memory", "units", "created")
    found = [{**known[r.cell], **{name: getattr(r, name) for name in columns}} for r in store.results() if r.cell in known]
    return pd.DataFrame(found, columns=[*columns, *CELL])


def failures(store: Store, cells: Collection[str] | None = None) -> pd.DataFrame:
    """One row a final run that failed, and isn't stored as a result: `seed`, `reason` (one line), `created`, and the columns of `CELL`."""
    known, done = _cells(store, cells), {(result.cell, result.seed) for result in store.results()}
    found = [
        {**known[f.cell], "seed": f.seed, "reason": " ".join(f.reason.split()), "created": f.created}
        for f in store.failures()
        if f.cell in known and (f.cell, f.seed) not in done
    ]
    return pd.DataFrame(found, columns=["seed", "reason", "created", *CELL])


def leaderboard(results: pd.DataFrame, failed: pd.DataFrame) -> pd.DataFrame:
    """One row a (variant, task, backbone, protocol, metric), from the frames of `rows` and `failures`.

    Columns: those of `CELL`; `mean` and `std` (ddof=1) of the score over seeds in percent, None where there is none; `n` seeds; `params`, `seconds`
    and `memory`: means over seeds; `ids`; `gaps`: {seed: reason}; `superseded`: how many stored runs of older cells (other data, card
    or version of the method) are left out. The cell shown is the one that was stored to last.
    """
    squares: dict[tuple[Any, ...], list[pd.DataFrame]] = {}
    for index, frame in enumerate((results, failed)):
        for key, part in frame.groupby(list(SQUARE), sort=False):
            squares.setdefault(key, [results.iloc[:0], failed.iloc[:0]])[index] = part
    return pd.DataFrame([_square(*parts) for parts in squares.values()], columns=[*CELL, *_MEASURED])


_MEASURED = ("mean", "std", "n", "params", "seconds", "memory", "ids", "gaps", "superseded")


def _square(runs: pd.DataFrame, failed: pd.DataFrame) -> dict[str, Any]:
    """A square's row. Runs come before failures: an old score isn't hidden by a new attempt that failed, but that attempt is told of."""
    newest = runs.iloc[-1] if len(runs) else failed.sort_values("created", kind="stable").iloc[-1]
    shown = runs[runs["cell"] == newest["cell"]]
    told = failed[(failed["cell"] == newest["cell"]) | (failed["created"] > newest["created"])] if len(shown) else failed
    scores = shown["score"]
    return {
        **{name: newest[name] for name in CELL},
        "mean": float(scores.mean()) if len(shown) else None,
        "std": float(scores.std(ddof=1)) if len(shown) > 1 else None,
        "n": len(shown),
        "params": float(shown["trainable"].mean()) if len(shown) else None,
        "seconds": float(shown["seconds"].mean()) if len(shown) else None,
        "memory": float(shown["memory"].mean()) if len(shown) else None,
        "ids": shown.sort_values("seed")["id"].tolist(),
        "gaps": dict(zip(told["seed"].tolist(), told["reason"].tolist(), strict=True)),
        "superseded": len(runs) - len(shown),
    }


def _cells(store: Store, keys: Collection[str] | None) -> dict[str, dict[str, Any]]:
    """The columns of `CELL` by cell key."""
    counts = store.trial_counts()
    return {key: _describe(cell, counts.get(key, {})) for key, cell in store.cells().items() if keys is None or key in keys}


def _describe(cell: Cell, trials: dict[str, int]) -> dict[str, Any]:
    identity, labels = cell.identity, cell.labels
    return {
        "cell": cell.key,
        "method": identity["method"]["name"],
        "version": str(identity["method"]["version"]),
        "variant": labels["variant"],
        "task": identity["task"]["name"],
        "suite": labels["suite"],
        "group": labels["group"],
        "metric": labels["metric"],
        "backbone": identity["backbone"]["name"],
        "backbone_sha": identity["backbone"]["sha256"],
        "pooling": identity["backbone"]["pooling"],
        "protocol": labels["protocol"],
        "protocol_digest": hashlib.sha256(json.dumps(identity["protocol"], sort_keys=True).encode()).hexdigest(),
        "data": identity["task"]["data"],
        "note": labels.get("note") or "",
        "trials": trials.get("complete", 0) + trials.get("pruned", 0),
        "failed_trials": trials.get("failed", 0),
    }
