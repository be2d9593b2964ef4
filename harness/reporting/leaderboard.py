"""One row per variant and task: its final runs summarised over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.reporting.rows import CellSummary, FailedRun, Rows, Run

COMPARABLE = ("backbone_sha", "pooling", "side", "normalize", "protocol_digest", "metric")
"""Fields of `CellSummary` that two scores must share to be comparable."""
_KEY = ("variant", "task", *COMPARABLE)
_MEANS = (
    *("head_params", "seconds", "memory", "units", "flops", "flops_scored"),
    *("flops_overhead", "seconds_image", "checkpoint_bytes"),
)


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A variant on a task under one backbone and protocol, over its seeds. Without a score, means
    and standard deviations are None."""

    cell: CellSummary
    mean: float | None
    """In percent."""
    std: float | None
    """With ddof=1; None for a single seed too."""
    n: int
    """Seeds."""
    mean_ms: float | None
    """The same three at several scales, for segmentation."""
    std_ms: float | None
    n_ms: int
    scores: dict[int, float]
    """Percent by seed."""
    params: float | None
    """Trained values without the head; this and those up to `checkpoint_bytes` are means over
    seeds, of those that have it."""
    head_params: float | None
    seconds: float | None
    memory: float | None
    units: float | None
    flops: float | None
    """Of a training step, an image; the next ones are as in `Run`."""
    flops_scored: float | None
    flops_overhead: float | None
    seconds_image: float | None
    checkpoint_bytes: float | None
    ids: list[str]
    gaps: dict[int, str]
    """Why a seed failed."""
    tracebacks: dict[int, str]
    warnings: list[str]
    """What its runs report about themselves."""
    superseded: int
    """How many stored runs of older cells (other data, card, version or code) are left out."""
    precision: str
    """Arithmetic of its runs, without repeats."""
    devices: list[str]
    """What they ran on, likewise."""

    @property
    def variant(self) -> str:
        return self.cell.variant

    @property
    def task(self) -> str:
        return self.cell.task


def leaderboard(rows: Rows) -> list[TaskResult]:
    """One result per (variant, task, backbone, protocol, metric), in the order of the plan.

    The cell shown is that of the newest run, or the last one stored if several were made in the
    same second: importing old results hides nothing newer.
    """
    return sorted(
        (_result(runs, failed) for runs, failed in _places(rows).values()),
        key=lambda result: result.cell.position,
    )


def superseded(rows: Rows) -> set[str]:
    """Ids of the runs that no result of the leaderboard is of."""
    return {
        run.id
        for runs, _ in _places(rows).values()
        if runs
        for newest in [_newest(runs).cell.key]
        for run in runs
        if run.cell.key != newest
    }


def _places(rows: Rows) -> dict[tuple[str, ...], tuple[list[Run], list[FailedRun]]]:
    """What each result of the leaderboard is chosen from."""
    places: dict[tuple[str, ...], tuple[list[Run], list[FailedRun]]] = {}
    for run in rows.runs:
        places.setdefault(_key(run.cell), ([], []))[0].append(run)
    for failed in rows.failed:
        places.setdefault(_key(failed.cell), ([], []))[1].append(failed)
    return places


def _newest(runs: Sequence[Run]) -> Run:
    return max(reversed(runs), key=lambda run: run.created)


def _key(cell: CellSummary) -> tuple[str, ...]:
    return tuple(getattr(cell, name) for name in _KEY)


def _result(runs: Sequence[Run], failed: Sequence[FailedRun]) -> TaskResult:
    """Runs come before failures: an old score isn't hidden by a new attempt that failed; that
    attempt is listed as a gap as well."""
    newest = _newest(runs) if runs else max(failed, key=lambda run: run.created)
    shown = sorted(
        (run for run in runs if run.cell.key == newest.cell.key), key=lambda run: run.seed
    )
    several = [run.score_ms for run in shown if run.score_ms is not None]
    gaps = [
        run
        for run in failed
        if not shown or run.cell.key == newest.cell.key or run.created > newest.created
    ]
    scores = [run.score for run in shown]
    return TaskResult(
        newest.cell,
        _mean(scores),
        _std(scores),
        len(shown),
        _mean(several),
        _std(several),
        len(several),
        scores={run.seed: run.score for run in shown},
        params=_mean([run.trainable for run in shown]),
        **{name: _mean(_known(shown, name)) for name in _MEANS},
        ids=[run.id for run in shown],
        gaps={run.seed: run.reason for run in gaps},
        tracebacks={run.seed: run.traceback for run in gaps if run.traceback is not None},
        warnings=sorted({sentence for run in shown for sentence in run.warnings}),
        superseded=len(runs) - len(shown),
        precision=", ".join(sorted({run.precision for run in shown if run.precision})),
        devices=sorted({run.device for run in shown if run.device}),
    )


def _known(runs: Sequence[Run], name: str) -> list[float]:
    """A field of the runs that have it."""
    values = (getattr(run, name) for run in runs)
    return [value for value in values if value is not None]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _std(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
