"""The store as tidy frames: one row a final run, then one row a square of a leaderboard."""

import hashlib
import json
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from harness.data import normalization
from harness.store import WARNINGS, Cell, Store
from harness.text import plain

Row = dict[str, Any]

SECTION = ("backbone_sha", "pooling", "side", "normalize", "protocol_digest", "metric")
"""What two scores must share to be compared."""

CELL = (
    *("cell", "method", "version", "method_source", "variant", "task", "suite", "group", "metric"),
    *("backbone", "backbone_sha", "pooling", "side", "normalize"),
    *("protocol", "protocol_digest", "settings", "epochs", "data", "pixels", "note"),
    *("overlap", "overlap_of", "overlap_expected"),
    *("of_cell", "arguments", "searched"),
    *("trials", "failed_trials", "search_units", "position"),
)
"""What a row says of its cell; `method_source`: sha256 of the code of a method that isn't built in,
else empty; `side`: of images in pixels, empty where it isn't known; `normalize`: a name, or mean
and std; `of_cell`: what the protocol says of it alone; `arguments`: the method's, fixed or by
default; `searched`: what is chosen, by name (all three as JSON, null where a cell was stored
without); `search_units`: forward-image units of its search; `position`: where the cell is in the
order in which they were added, a plan's."""
SQUARE = ("variant", "task", *SECTION)


RUN = ("id", "seed", "score", "trainable", "seconds", "memory", "units", "created")
MULTI_SCALE = "miou_ms"
"""Of a segmentation result's extras: its mIoU on several scales and mirrored."""
DETAIL = ("params", "curve", "head_params", "logits_sha256", "provenance")


def rows(
    store: Store,
    cells: Collection[str] | None = None,
    detail: bool = False,
    precision: bool = False,
) -> pd.DataFrame:
    """One row a final run, in the order they were stored; of the cells with these keys, or of all.

    Columns: `id`, `seed`, `score` (percent), `trainable` (values, without the head), `seconds`,
    `memory` (bytes), `units`, `created`, `score_ms` (of segmentation at several scales, where that
    was scored), `warnings` (sentences), `precision` (what it was computed in; empty where that
    isn't known, or was asked for by neither `precision` nor `detail`), and those of `CELL`; with
    `detail` also `params` (the chosen hyper-parameters), `curve` ({epoch: percent}), `head_params`,
    `logits_sha256` and `provenance`, as Python objects.
    """
    known = _cells(store, cells)
    columns = (*RUN, *(DETAIL if detail else ()))
    runs = (vars(run) for run in store.results()) if detail else store.runs(("cell", *RUN))
    extras = store.extras()
    made_in = store.provenance("precision") if precision or detail else {}
    found = []
    for run in runs:
        if run["cell"] in known:
            more = extras.get(run["id"], {})
            measured = {
                "score_ms": _percent(more.get(MULTI_SCALE)),
                "warnings": _sentences(more.get(WARNINGS)),
            }
            computed = {"precision": str(made_in.get(run["id"]) or "")}
            found.append(
                {
                    **known[run["cell"]],
                    **{name: run[name] for name in columns},
                    **measured,
                    **computed,
                }
            )
    return pd.DataFrame(
        found, columns=[*columns, "score_ms", "warnings", "precision", *CELL]
    ).astype({"score_ms": float})


def failures(store: Store, cells: Collection[str] | None = None) -> pd.DataFrame:
    """One row a final run that failed, and isn't stored as a result: `seed`, `reason` (one line),
    `traceback` (or None), `created`, and the columns of `CELL`."""
    known, done = (
        _cells(store, cells),
        {(run["cell"], run["seed"]) for run in store.runs(("cell", "seed"))},
    )
    found = [
        {
            **known[f.cell],
            "seed": f.seed,
            "reason": f.line,
            "traceback": f.traceback,
            "created": f.created,
        }
        for f in store.failures()
        if f.cell in known and (f.cell, f.seed) not in done
    ]
    return pd.DataFrame(found, columns=["seed", "reason", "traceback", "created", *CELL])


TIDY = (
    *(
        "origin",
        "method",
        "version",
        "method_source",
        "variant",
        "task",
        "suite",
        "group",
        "metric",
        "seed",
        "score",
        "score_ms",
        "reason",
    ),
    *("backbone", "backbone_sha", "pooling", "side", "normalize"),
    *("protocol", "protocol_digest", "epochs", "trials", "failed_trials", "search_units"),
    *(
        "pixels",
        "data",
        "overlap",
        "trainable",
        "seconds",
        "memory",
        "units",
        "id",
        "created",
        "pretrain",
        "source",
    ),
)


def tidy(
    results: pd.DataFrame, failed: pd.DataFrame, published: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Everything in one frame to give away: a row a (variant, backbone, protocol, task, seed), with
    the columns `TIDY`.

    `origin` is `measured`, or `published` for numbers from papers, which have a `source` and
    neither seed nor protocol. A final run that failed has no score, but a `reason`.
    """
    parts = [results.assign(origin="measured"), failed.assign(origin="measured")]
    if published is not None:
        names = {"value": "score"}
        parts.append(
            published.rename(columns=names).assign(origin="published", variant=published["method"])
        )
    rows = [row for part in parts for row in records(part)]
    found = pd.DataFrame(
        [{name: row.get(name) for name in TIDY} for row in rows], columns=list(TIDY)
    )
    whole = ("seed", "epochs", "overlap", "trials", "failed_trials", "trainable", "memory")
    kinds = {name: "Int64" for name in whole} | dict.fromkeys(
        ("score", "score_ms", "search_units", "seconds", "units"), "float64"
    )
    return found.astype({**{name: "string" for name in TIDY}, **kinds})


def leaderboard(results: pd.DataFrame, failed: pd.DataFrame) -> pd.DataFrame:
    """One row a (variant, task, backbone, protocol, metric), from the frames of `rows` and
    `failures`; in the order of the plan.

    Columns: those of `CELL`; `mean` and `std` (ddof=1) of the score over seeds in percent, NaN
    where there is none; `n` seeds; the same three of `score_ms`; `scores`: {seed: percent};
    `params`, `seconds`, `memory` and `units`: means over seeds; `ids`; `gaps`: {seed: reason};
    `warnings`: what its runs say of themselves; `precision`: what they were computed in, each once;
    `superseded`: how many stored runs of older cells (other data, card, version or code) are left
    out. The cell shown is that of the newest run; of those of one second, the one stored last: an
    import of old results hides nothing newer.
    """
    squares: dict[tuple[str, ...], tuple[list[Row], list[Row]]] = {}
    for index, frame in enumerate((results, failed)):
        for row in records(frame):
            squares.setdefault(tuple(row[name] for name in SQUARE), ([], []))[index].append(row)
    found = sorted((_square(*found) for found in squares.values()), key=lambda row: row["position"])
    board = pd.DataFrame(found, columns=[*CELL, *_MEASURED])
    return board.astype(
        dict.fromkeys(
            ("mean", "std", "mean_ms", "std_ms", "params", "seconds", "memory", "units"), float
        )
    )


def records(frame: pd.DataFrame) -> list[Row]:
    """A frame's rows as dicts of plain Python values."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


_MEASURED = (
    *(
        "mean",
        "std",
        "n",
        "mean_ms",
        "std_ms",
        "n_ms",
        "scores",
        "params",
        "seconds",
        "memory",
        "units",
        "ids",
    ),
    *("gaps", "tracebacks", "warnings", "superseded", "precision"),
)


def _square(runs: list[Row], failed: list[Row]) -> Row:
    """A square's row. Runs come before failures: an old score isn't hidden by a new attempt that
    failed, but that attempt is told of."""
    newest = (
        max(reversed(runs), key=lambda row: row["created"])
        if runs
        else max(failed, key=lambda row: row["created"])
    )
    shown = sorted(
        (row for row in runs if row["cell"] == newest["cell"]), key=lambda row: row["seed"]
    )
    several = [row for row in shown if row["score_ms"] == row["score_ms"]]  # not NaN
    told = [
        row
        for row in failed
        if not shown or row["cell"] == newest["cell"] or row["created"] > newest["created"]
    ]
    return {
        **{name: newest[name] for name in CELL},
        "mean": _mean(shown, "score"),
        "std": _std(shown, "score"),
        "n": len(shown),
        "mean_ms": _mean(several, "score_ms"),
        "std_ms": _std(several, "score_ms"),
        "n_ms": len(several),
        "scores": {row["seed"]: row["score"] for row in shown},
        "params": _mean(shown, "trainable"),
        "seconds": _mean(shown, "seconds"),
        "memory": _mean(shown, "memory"),
        "units": _mean(shown, "units"),
        "ids": [row["id"] for row in shown],
        "gaps": {row["seed"]: row["reason"] for row in told},
        "tracebacks": {
            row["seed"]: row["traceback"] for row in told if isinstance(row["traceback"], str)
        },
        "warnings": sorted({sentence for row in shown for sentence in row["warnings"]}),
        "superseded": len(runs) - len(shown),
        "precision": ", ".join(sorted({row["precision"] for row in shown if row["precision"]})),
    }


def _mean(rows: list[Row], name: str) -> float | None:
    return float(np.mean([row[name] for row in rows])) if rows else None


def _std(rows: list[Row], name: str) -> float | None:
    return float(np.std([row[name] for row in rows], ddof=1)) if len(rows) > 1 else None


def _percent(value: Any) -> float | None:
    """An extra's value, which in somebody else's store may be anything."""
    return float(value) if type(value) in (int, float) and 0 <= value <= 100 else None


def _sentences(value: Any) -> list[str]:
    """An extra's warnings, which in somebody else's store may be anything."""
    return (
        [plain(text)[:500] for text in value[:8] if isinstance(text, str)]
        if isinstance(value, list)
        else []
    )


def _cells(store: Store, keys: Collection[str] | None) -> dict[str, Row]:
    """The columns of `CELL` by cell key."""
    counts, units = store.trial_counts(), store.trial_units()
    cells = enumerate(store.cells().values())
    return {
        cell.key: {
            **_describe(cell, counts.get(cell.key, {})),
            "search_units": units.get(cell.key, 0.0),
            "position": place,
        }
        for place, cell in cells
        if keys is None or cell.key in keys
    }


def _overlap(said: Any) -> Row:
    """Of a cell's test images, how many are in train or val too, of how many, and how many its card
    expects; a store may be anybody's."""
    fields = said if isinstance(said, dict) else {}
    images, of, expected = (
        value if type(value := fields.get(name)) is int and value >= 0 else 0
        for name in ("images", "of", "expected")
    )
    return {"overlap": images, "overlap_of": of, "overlap_expected": expected}


def _describe(cell: Cell, trials: dict[str, int]) -> Row:
    identity, labels = cell.identity, cell.labels
    # of all cells of the protocol; rows from before it could say something of some cells alone have
    # none
    shared = labels.get("settings")
    settings = json.dumps(
        shared if isinstance(shared, dict) else identity["protocol"], sort_keys=True
    )
    return {
        "cell": cell.key,
        "method": identity["method"]["name"],
        "version": str(identity["method"]["version"]),
        "method_source": str(identity["method"].get("source") or ""),
        "variant": labels["variant"],
        "task": identity["task"]["name"],
        "suite": labels["suite"],
        "group": labels["group"],
        "metric": labels["metric"],
        "backbone": identity["backbone"]["name"],
        "backbone_sha": identity["backbone"]["sha256"],
        "pooling": identity["backbone"]["pooling"],
        "side": str(identity["backbone"].get("side") or ""),
        "normalize": plain(normalization.of(identity).name),
        "protocol": labels["protocol"],
        "protocol_digest": hashlib.sha256(settings.encode()).hexdigest(),
        "settings": settings,
        "epochs": identity["protocol"].get("epochs"),
        "data": identity["task"]["data"],
        "pixels": identity["task"]["pixels"],
        "note": labels.get("note") or "",
        **_overlap(labels.get("overlap")),
        "of_cell": json.dumps(identity["protocol"], sort_keys=True),
        "arguments": json.dumps(labels.get("arguments"), sort_keys=True),
        "searched": json.dumps(labels.get("searched"), sort_keys=True),
        "trials": trials.get("complete", 0) + trials.get("pruned", 0),
        "failed_trials": trials.get("failed", 0),
    }
