"""What a store holds: cells, trials, results and failures, each defined only here.

The tables (`tables`), the columns of exported files (`transfer.exchange`), and what an import and
`harness store check` refuse (`validate`) follow from the fields and their annotations. A new column
is a field here, with a default and `since`; SCHEMA, raised; and a revision in
`migrations/versions`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import sqlalchemy as sa

from harness.store.columns import Bounds, Form, Json, StoredRecord, Table

SCHEMA = 4
"""Version of the tables. An older store is read as it is, and migrated by the first call that
writes; one from before `columns.FIRST`, or of a later version, is refused."""

WARNINGS = "warnings"
"""Key of a result's extras: what a reader of its score should know, as sentences. Every format of
the leaderboard shows them."""


FLOPS, FLOPS_SCORED, FLOPS_OVERHEAD = "flops", "flops_scored", "flops_overhead"
"""Of a result's extras, of the first seed: floating-point operations of a training step and of
scoring, an image; and of scoring, what a linear probe of the backbone doesn't need: nothing, of
what can be merged."""
SECONDS_IMAGE, CHECKPOINT_BYTES = "seconds_image", "checkpoint_bytes"
"""Of a result's extras: seconds of training, an image; and what its checkpoint's tensors take."""


def _utc(time: str) -> str:
    if datetime.fromisoformat(time).utcoffset():
        raise ValueError("not in UTC")
    return time


Name = Annotated[str, Bounds(min_length=1, max_length=1000)]
Digest = Annotated[str, sa.String(64), Bounds(pattern=r"^[0-9a-f]{64}$")]
Time = Annotated[str, sa.String(40), Bounds(_utc, max_length=40)]
"""ISO time in UTC."""
Count = Annotated[int, Bounds(ge=0, lt=2**63)]
Amount = Annotated[float, Bounds(ge=0)]
Percent = Annotated[float, Bounds(ge=0, le=100)]
Curve = Annotated[dict[Count, Percent], Json()]
"""Score in percent by epoch."""
Curves = Annotated[dict[str, list[float | None]], Json()]
"""What was read of the steps of a run: `epoch` (or iterations), and as many values of each of
`loss`, `lr` and what the method logs."""
Point = tuple[int, float | None]
"""Epoch (or iteration), and the value there."""
Object = Annotated[dict[str, Any], Json()]


class Method(Form):
    name: Name
    version: str | int
    arguments: Object


class Normalize(Form):
    mean: Annotated[list[float], Bounds(min_length=3, max_length=3)]
    std: Annotated[list[Annotated[float, Bounds(gt=0)]], Bounds(min_length=3, max_length=3)]


class Task(Form):
    name: Name
    data: str
    pixels: str
    normalize: Normalize | None = None


class Backbone(Form):
    name: Name
    sha256: str
    pooling: str
    side: Count | None = None


class Protocol(Form):
    epochs: Count | None = None


class Identity(Form):
    """Everything that a score depends on."""

    method: Method
    task: Task
    backbone: Backbone
    protocol: Protocol


class Labels(Form):
    """For display, never part of the key."""

    variant: Name
    suite: Name
    group: Name
    metric: Name
    protocol: Name
    kind: str = ""
    classes: Count = 0
    family: str = ""
    year: Count | None = None
    note: str | None = None


@dataclass(frozen=True)
class Cell(StoredRecord):
    """One cell of the leaderboard, for all seeds: a method variant on a task with a backbone under
    a protocol."""

    TABLE = Table("cells", keys=(("key",),), ordered=True)

    key: Digest
    """sha256 of `identity`."""
    identity: Annotated[dict[str, Any], Json(Identity)]
    labels: Annotated[dict[str, Any], Json(Labels)]

    def contradiction(self) -> str | None:
        same = cell_key(self.identity) == self.key
        return None if same else "its key isn't the digest of its identity"


SAME_SCORE = 1e-6
"""Percentage points that a score may differ by from itself, computed again: rounding in the last
place, and far less than one image of the largest split."""


@dataclass(frozen=True)
class Trial(StoredRecord):
    """One point of a cell's search, trained on `train` and scored on `val`."""

    TABLE = Table(
        "trials",
        keys=(("cell", "number"),),
        # lets a run count trials, and find the best one, without reading them
        indexes={"trials_by_state": ("cell", "state", "value")},
    )

    cell: Digest
    number: Annotated[int, sa.Integer(), Bounds(ge=0, lt=2**31)]
    params: Object
    state: Annotated[Literal["complete", "pruned", "failed"], sa.String(16)]
    value: Percent | None
    """The last score on val; None if the trial didn't complete."""
    curve: Curve
    """On val."""
    reason: str | None
    """Why it failed."""
    seconds: Amount
    units: Amount
    """Forward-image units."""
    provenance: Object
    curves: Curves = field(default_factory=dict, metadata={"since": 4})

    def contradiction(self) -> str | None:
        if (self.state == "complete") == (self.value is not None):
            return None
        return f"it is {self.state}, but has {'no' if self.value is None else 'a'} value"


def by_name(curves: Mapping[str, Sequence[float | None]]) -> dict[str, list[Point]]:
    """The points of each scalar in a run's `curves`."""
    epochs = curves.get("epoch", ())
    return {
        name: [
            (int(epoch), value)
            for epoch, value in zip(epochs, values, strict=True)
            if epoch is not None
        ]
        for name, values in curves.items()
        if name != "epoch"
    }


def preference(
    value: float | None, params: Mapping[str, Any], number: int
) -> tuple[bool, float, float, int]:
    """Sorts trials so that the one whose point a search chooses is first: the best on val; of
    equally good ones that with the smaller learning rate, then the earlier. Those that didn't
    complete are last."""
    rate = params.get("base_lr", 0.0)
    return value is None, -(value or 0.0), rate if type(rate) in (int, float) else 0.0, number


def chosen(trials: Iterable[Trial]) -> Trial | None:
    """The trial whose point the final runs have; None if none completed."""
    complete = (trial for trial in trials if trial.value is not None)
    return min(
        complete, key=lambda one: preference(one.value, one.params, one.number), default=None
    )


@dataclass(frozen=True)
class Result(StoredRecord):
    """One final run: trained on all training images with the chosen point, scored once on test."""

    # the order in which they were stored: `created` has only seconds
    TABLE = Table("results", keys=(("cell", "seed"), ("id",)), ordered=True)

    id: Annotated[str, sa.String(12)]
    cell: Digest
    seed: Count
    params: Object
    score: Percent
    trainable: Count
    """Trained values of the method, without the head."""
    head_params: Count
    logits_sha256: Digest
    seconds: Amount
    memory: Count
    """Peak, in bytes."""
    units: Amount
    """Forward-image units."""
    curve: Curve
    provenance: Object
    created: Time
    extras: Object = field(default_factory=dict)
    """What else was measured, e.g. mIoU at other scales, IoU by class. Only finite numbers, as JSON
    has no others."""
    train_only: Count = field(default=0, metadata={"since": 4})
    """Trained values of the method that predictions don't need; not in `trainable`."""
    curves: Curves = field(default_factory=dict, metadata={"since": 4})

    def contradiction(self) -> str | None:
        if self.id != result_id(self.cell, self.seed):
            return f"its id doesn't follow from its cell {self.cell} and seed {self.seed}"
        last = self.curve[max(self.curve)] if self.curve else self.score
        if abs(last - self.score) > SAME_SCORE:
            return f"its score {self.score:.6g} isn't the last of its curve, {last:.6g}"
        return None


@dataclass(frozen=True)
class Failure(StoredRecord):
    """A final run that failed: a gap, with its reason."""

    TABLE = Table("failures", keys=(("cell", "seed"),))

    cell: Digest
    seed: Count
    reason: str
    """One line, followed by the traceback if there is one."""
    created: Time

    @property
    def line(self) -> str:
        """The reason without its traceback."""
        return " ".join(self.reason.partition("\nTraceback")[0].split())

    @property
    def traceback(self) -> str | None:
        parts = self.reason.partition("\nTraceback")
        return f"Traceback{parts[2]}" if parts[1] else None


RECORDS: tuple[type[StoredRecord], ...] = (Cell, Trial, Result, Failure)

Row = TypeVar("Row", Cell, Trial, Result, Failure)


@dataclass(frozen=True)
class Progress:
    """What a store has for a cell."""

    trials: dict[str, int]
    """Counts by state."""
    scores: dict[int, float]
    """Of final runs, by seed."""
    failures: dict[int, Failure]
    """By seed."""


def cell_key(identity: Mapping[str, Any]) -> str:
    """64 hex digits that name a cell: the sha256 of its identity as JSON with sorted names."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def without_code(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity without the version and the code of its method: the same before and after an
    edit."""
    method = {
        name: value
        for name, value in identity["method"].items()
        if name not in ("source", "bases", "version", "packages")
    }
    return {**identity, "method": method}


def result_id(cell_key: str, seed: int) -> str:
    """12 hex digits that name the final run of a cell with a seed."""
    return hashlib.sha256(f"{cell_key}/{seed}".encode()).hexdigest()[:12]
