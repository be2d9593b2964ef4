"""Everything in one frame to share: what the CSV and Parquet files hold."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.reporting.leaderboard import superseded
from harness.reporting.published.numbers import PublishedNumber
from harness.reporting.rows import CellSummary, Rows, Run

if TYPE_CHECKING:
    import pandas as pd

_TEXT, _WHOLE, _FRACTION, _YES_OR_NO = "string", "Int64", "float64", "boolean"
COLUMNS = {
    **dict.fromkeys(("origin", "method", "version", "method_source", "variant", "task"), _TEXT),
    **dict.fromkeys(("suite", "group", "metric"), _TEXT),
    "seed": _WHOLE,
    **dict.fromkeys(("score", "score_ms"), _FRACTION),
    **dict.fromkeys(("reason", "backbone", "backbone_sha", "pooling", "side"), _TEXT),
    **dict.fromkeys(("normalize", "protocol", "protocol_digest"), _TEXT),
    **dict.fromkeys(("epochs", "trials", "failed_trials"), _WHOLE),
    "search_units": _FRACTION,
    **dict.fromkeys(("pixels", "data"), _TEXT),
    **dict.fromkeys(("overlap", "trainable", "head_params"), _WHOLE),
    **dict.fromkeys(("flops", "flops_scored", "flops_overhead", "seconds_image"), _FRACTION),
    "seconds": _FRACTION,
    **dict.fromkeys(("memory", "checkpoint_bytes"), _WHOLE),
    "device": _TEXT,
    "units": _FRACTION,
    **dict.fromkeys(("id", "created"), _TEXT),
    "superseded": _YES_OR_NO,
    **dict.fromkeys(("pretrain", "source"), _TEXT),
}
"""Name and type of each column."""
_OF_CELL = [name for name in COLUMNS if name in CellSummary.__dataclass_fields__]
_OF_RUN = [name for name in COLUMNS if name in Run.__dataclass_fields__]


def tidy(rows: Rows, published: Sequence[PublishedNumber] = ()) -> "pd.DataFrame":
    """One row per (variant, backbone, protocol, task, seed), with the columns `COLUMNS`.

    `origin` is `measured`, or `published` for numbers from papers, which have a `source` and
    neither seed nor protocol. A final run that failed has no score, but a `reason`. `superseded`
    runs are of older code, data or settings, and in no mean of the leaderboard.
    """
    import pandas as pd  # takes half a second to import, which other formats don't need

    older = superseded(rows)
    records: list[dict[str, Any]] = [
        {
            "origin": "measured",
            **_of_cell(run.cell),
            **{name: getattr(run, name) for name in _OF_RUN},
            "superseded": run.id in older,
        }
        for run in rows.runs
    ]
    records += [
        {"origin": "measured", **_of_cell(run.cell)}
        | {"seed": run.seed, "reason": run.reason, "created": run.created}
        for run in rows.failed
    ]
    records += [
        {"origin": "published", "variant": number.method, "score": number.value}
        | {name: getattr(number, name) for name in ("method", "task", "metric", "backbone")}
        | {"pretrain": number.pretrain, "source": number.source}
        for number in published
    ]
    return pd.DataFrame(records, columns=list(COLUMNS)).astype(COLUMNS)


def _of_cell(cell: CellSummary) -> dict[str, Any]:
    return {name: getattr(cell, name) for name in _OF_CELL}
