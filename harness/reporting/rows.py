"""The store's final runs as typed rows, which leaderboards, tests and exported files are made
from."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.data import normalization
from harness.store import (
    CHECKPOINT_BYTES,
    FLOPS,
    FLOPS_OVERHEAD,
    FLOPS_SCORED,
    SECONDS_IMAGE,
    WARNINGS,
    Cell,
    Store,
)
from harness.text import plain

MULTI_SCALE = "miou_ms"
"""In a segmentation result's extras: its mIoU at several scales, mirrored too."""


@dataclass(frozen=True, slots=True)
class CellSummary:
    """What a report says about a cell: one (method variant, task, backbone, protocol)."""

    key: str
    method: str
    version: str
    method_source: str
    """sha256 of the code of a method that isn't built in, else empty."""
    variant: str
    task: str
    suite: str
    group: str
    metric: str
    backbone: str
    backbone_sha: str
    pooling: str
    side: str
    """Of images, in pixels; empty if unknown."""
    normalize: str
    """A name, or mean and std."""
    protocol: str
    protocol_digest: str
    settings: str
    """What the protocol says about all cells, as JSON."""
    epochs: int | None
    data: str
    pixels: str
    note: str
    overlap: int
    """Test images that are also in train or val, ..."""
    overlap_of: int
    """... of how many, ..."""
    overlap_expected: int
    """... and how many the task's card expects."""
    of_cell: str
    """What the protocol says about this cell alone, as JSON."""
    arguments: str
    """The method's, fixed or by default, as JSON; `null` if the cell was stored without them."""
    searched: str
    """What a search chooses, by name, as JSON; `null` if the cell was stored without it."""
    trials: int
    failed_trials: int
    search_units: float
    """Forward-image units of its search."""
    family: str
    """The method's."""
    year: int | None
    position: int
    """Its position in the order in which cells were added, that of a plan."""


@dataclass(frozen=True, slots=True)
class RunDetail:
    """What only the page shows about a final run."""

    params: dict[str, Any]
    """The chosen hyper-parameters."""
    curve: dict[int, float]
    """Percent by epoch."""
    logits_sha256: str
    provenance: dict[str, Any]
    train_only: int
    """Parameters of the method that predictions don't need."""
    curves: dict[str, list[float | None]]
    """Of loss, learning rate and what the method logs, at `epoch`."""


@dataclass(frozen=True, slots=True)
class Run:
    """A final run."""

    cell: CellSummary
    id: str
    seed: int
    score: float
    """In percent."""
    trainable: int
    """Tuned parameters, without the head."""
    head_params: int
    """Those of the head."""
    seconds: float
    memory: int
    """In bytes."""
    units: float
    created: str
    score_ms: float | None
    """For segmentation, at several scales, in percent, if that was scored."""
    warnings: tuple[str, ...]
    """Sentences."""
    precision: str
    """Its arithmetic; empty if unknown, as is the next."""
    device: str
    """What it ran on: a GPU's name, or a CPU's and how many threads."""
    flops: float | None
    """Of a training step, per image; None if it wasn't counted, as are the next."""
    flops_scored: float | None
    """Of scoring an image."""
    flops_overhead: float | None
    """Of that, what a linear probe of the backbone doesn't need, once merged where it can be."""
    seconds_image: float | None
    """Of training, per image."""
    checkpoint_bytes: float | None
    detail: RunDetail | None = None
    """None if it wasn't read."""


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A final run that failed, and isn't stored as a result."""

    cell: CellSummary
    seed: int
    reason: str
    """One line."""
    traceback: str | None
    created: str


@dataclass(frozen=True, slots=True)
class Rows:
    """Final runs, in the order they were stored, and those that failed."""

    runs: tuple[Run, ...]
    failed: tuple[FailedRun, ...]

    def __bool__(self) -> bool:
        return bool(self.runs or self.failed)

    @property
    def cells(self) -> list[CellSummary]:
        """The cell of each row."""
        return [row.cell for row in (*self.runs, *self.failed)]

    def of_cells(self, keys: Collection[str]) -> "Rows":
        return Rows(
            tuple(row for row in self.runs if row.cell.key in keys),
            tuple(row for row in self.failed if row.cell.key in keys),
        )

    def of_tasks(self, tasks: Collection[str]) -> "Rows":
        return Rows(
            tuple(row for row in self.runs if row.cell.task in tasks),
            tuple(row for row in self.failed if row.cell.task in tasks),
        )

    def of_variants(self, variants: Collection[str]) -> "Rows":
        return Rows(
            tuple(row for row in self.runs if row.cell.variant in variants),
            tuple(row for row in self.failed if row.cell.variant in variants),
        )


def read(
    store: Store,
    cells: Collection[str] | None = None,
    detail: bool = False,
) -> Rows:
    """The rows of the cells with these keys, or of all. `detail` is read on request, as it takes
    longer."""
    summaries = _summaries(store, cells)
    runs = store.results() if detail else None
    done = (
        {(row["cell"], row["seed"]) for row in store.runs(("cell", "seed"))}
        if runs is None
        else {(run.cell, run.seed) for run in runs}
    )
    failed = (
        FailedRun(summaries[row.cell], row.seed, row.line, row.traceback, row.created)
        for row in store.failures()
        if row.cell in summaries and (row.cell, row.seed) not in done
    )
    return Rows(
        tuple(_runs(store, summaries, map(vars, runs) if runs is not None else None)),
        tuple(failed),
    )


_RUN = (
    *("id", "seed", "score", "trainable", "head_params", "seconds", "memory", "units"),
    "created",
)
_DETAIL = ("params", "curve", "logits_sha256", "provenance", "train_only", "curves")
_COUNTED = (FLOPS, FLOPS_SCORED, SECONDS_IMAGE, CHECKPOINT_BYTES)


def costs(extras: Mapping[str, Any]) -> dict[str, float | None]:
    """A final run's costs that are in its extras, by their fields in `Run`: None where it lacks
    them."""
    return {
        **{name: _amount(extras.get(name)) for name in _COUNTED},
        FLOPS_OVERHEAD: _number(extras.get(FLOPS_OVERHEAD)),
    }


def _runs(
    store: Store,
    summaries: Mapping[str, CellSummary],
    detailed: Iterable[Mapping[str, Any]] | None,
) -> Iterable[Run]:
    """`detailed`: the results with all their columns, if they were read."""
    extras = store.extras()
    machines = store.provenance("precision", "device", "processor", "threads")
    for row in store.runs(("cell", *_RUN)) if detailed is None else detailed:
        if row["cell"] in summaries:
            more, machine = extras.get(row["id"], {}), machines.get(row["id"], {})
            yield Run(
                summaries[row["cell"]],
                *(row[name] for name in _RUN),
                score_ms=_percent(more.get(MULTI_SCALE)),
                warnings=_sentences(more.get(WARNINGS)),
                precision=str(machine.get("precision") or ""),
                device=_device(machine),
                **costs(more),
                detail=None
                if detailed is None
                else RunDetail(**{name: row[name] for name in _DETAIL}),
            )


def _percent(value: Any) -> float | None:
    """An extra's value, which in somebody else's store may be anything."""
    return float(value) if type(value) in (int, float) and 0 <= value <= 100 else None


def _amount(value: Any) -> float | None:
    """An extra's value, which in somebody else's store may be anything."""
    number = _number(value)
    return number if number is None or number >= 0 else None


def _number(value: Any) -> float | None:
    """An extra's value, which in somebody else's store may be anything."""
    if type(value) not in (int, float) or not abs(value) < 1e300:
        return None
    return float(value)


def _device(machine: Mapping[str, Any]) -> str:
    """`NVIDIA H100`, or `AMD EPYC, 2 threads`, in one line."""
    name = str(machine.get("device") or "")
    if name == "cpu":
        threads = machine.get("threads")
        said = f", {threads} thread{'' if threads == 1 else 's'}" if threads else ""
        name = f"{machine.get('processor') or 'a CPU'}{said}"
    return plain(name)[:200]


def _sentences(value: Any) -> tuple[str, ...]:
    """An extra's warnings, which in somebody else's store may be anything."""
    texts = value[:8] if isinstance(value, list) else []
    return tuple(plain(text)[:500] for text in texts if isinstance(text, str))


def _summaries(store: Store, keys: Collection[str] | None) -> dict[str, CellSummary]:
    """By cell key."""
    counts, units = store.trial_counts(), store.trial_units()
    return {
        cell.key: _summary(cell, counts.get(cell.key, {}), units.get(cell.key, 0.0), position)
        for position, cell in enumerate(store.cells().values())
        if keys is None or cell.key in keys
    }


def settings_of(cell: Cell) -> str:
    """What its protocol says about all cells, as JSON."""
    # rows from before a protocol could say something about some cells alone have no such label
    shared = cell.labels.get("settings")
    return json.dumps(
        shared if isinstance(shared, dict) else cell.identity["protocol"], sort_keys=True
    )


def _summary(
    cell: Cell, trials: Mapping[str, int], search_units: float, position: int
) -> CellSummary:
    identity, labels = cell.identity, cell.labels
    method, task, backbone = identity["method"], identity["task"], identity["backbone"]
    settings = settings_of(cell)
    overlap, overlap_of, overlap_expected = _overlap(labels.get("overlap"))
    return CellSummary(
        key=cell.key,
        method=method["name"],
        version=str(method["version"]),
        method_source=str(method.get("source") or ""),
        variant=labels["variant"],
        task=task["name"],
        suite=labels["suite"],
        group=labels["group"],
        metric=labels["metric"],
        backbone=backbone["name"],
        backbone_sha=backbone["sha256"],
        pooling=backbone["pooling"],
        side=str(backbone.get("side") or ""),
        normalize=plain(normalization.of(identity).name),
        protocol=labels["protocol"],
        protocol_digest=hashlib.sha256(settings.encode()).hexdigest(),
        settings=settings,
        epochs=identity["protocol"].get("epochs"),
        data=task["data"],
        pixels=task["pixels"],
        note=labels.get("note") or "",
        overlap=overlap,
        overlap_of=overlap_of,
        overlap_expected=overlap_expected,
        of_cell=json.dumps(identity["protocol"], sort_keys=True),
        arguments=json.dumps(labels.get("arguments"), sort_keys=True),
        searched=json.dumps(labels.get("searched"), sort_keys=True),
        trials=trials.get("complete", 0) + trials.get("pruned", 0),
        failed_trials=trials.get("failed", 0),
        search_units=search_units,
        family=plain(str(labels.get("family") or "")),
        year=year if type(year := labels.get("year")) is int else None,
        position=position,
    )


def _overlap(label: Any) -> tuple[int, int, int]:
    """How many of a cell's test images are in train or val too, of how many, and how many its card
    expects; a store may be anybody's."""
    fields = label if isinstance(label, dict) else {}
    images, of, expected = (
        value if type(value := fields.get(name)) is int and value >= 0 else 0
        for name in ("images", "of", "expected")
    )
    return images, of, expected
