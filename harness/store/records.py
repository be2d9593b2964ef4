"""The rows of a store: what a cell, a trial, a result and a failure say, what names them, and their
form as columns."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

WARNINGS = "warnings"
"""Of a result's extras: what a reader of its score should know, a sentence each. Every form of the
leaderboard shows them."""


@dataclass(frozen=True)
class Cell:
    """One square of the leaderboard, seed aside: a method variant on a task with a backbone under a
    protocol."""

    key: str
    """sha256 of `identity`."""
    identity: dict[str, Any]
    """All that a score depends on: method, task, backbone, protocol."""
    labels: dict[str, Any]
    """For display: variant, suite, group, kind, metric, classes, protocol's name, note. Never part
    of the key."""


@dataclass(frozen=True)
class Trial:
    """One point of a cell's search, trained on `train` and scored on `val`."""

    cell: str
    number: int
    params: dict[str, Any]
    state: Literal["complete", "pruned", "failed"]
    value: float | None
    """The last score on val, in percent; None where the trial didn't complete."""
    curve: dict[int, float]
    """Score on val by epoch."""
    reason: str | None
    """Why it failed."""
    seconds: float
    units: float
    """Forward-image units."""
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """One final run: trained on all training images with the chosen point, scored once on test."""

    id: str
    cell: str
    seed: int
    params: dict[str, Any]
    score: float
    """In percent."""
    trainable: int
    """Trained values of the method, without the head."""
    head_params: int
    logits_sha256: str
    seconds: float
    memory: int
    """Peak, in bytes."""
    units: float
    """Forward-image units."""
    curve: dict[int, float]
    provenance: dict[str, Any]
    created: str
    """ISO time in UTC."""
    extras: dict[str, Any] = field(default_factory=dict)
    """What else was measured, e.g. mIoU at other scales, IoU by class. Finite numbers only, as JSON
    can hold them."""


@dataclass(frozen=True)
class Failure:
    """A final run that didn't come through: a gap, with its reason."""

    cell: str
    seed: int
    reason: str
    """A line; where it has a traceback, that follows it."""
    created: str

    @property
    def line(self) -> str:
        """The reason without its traceback."""
        return " ".join(self.reason.partition("\nTraceback")[0].split())

    @property
    def traceback(self) -> str | None:
        found = self.reason.partition("\nTraceback")
        return f"Traceback{found[2]}" if found[1] else None


Row = TypeVar("Row", Cell, Trial, Result, Failure)


@dataclass(frozen=True)
class Progress:
    """What a store has of a cell."""

    trials: dict[str, int]
    """How many, by state."""
    scores: dict[int, float]
    """Of final runs, by seed."""
    failures: dict[int, Failure]
    """By seed."""


def cell_key(identity: Mapping[str, Any]) -> str:
    """64 hex digits that name a cell: the sha256 of its identity as JSON with sorted names."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def result_id(cell_key: str, seed: int) -> str:
    """12 hex digits that name the final run of a cell with a seed."""
    return hashlib.sha256(f"{cell_key}/{seed}".encode()).hexdigest()[:12]


def pack(row: Cell | Trial | Result | Failure) -> dict[str, Any]:
    """A row's columns. Refuses NaN and infinity: `ValueError`."""
    values = dict(vars(row))
    for name, value in values.items():
        if name == "extras" and not value:
            values[name] = None  # as in rows of before there were any
        elif isinstance(value, Mapping):
            values[name] = json.dumps(value, sort_keys=True, allow_nan=False)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} is {value}: a store holds finite numbers only")
        elif isinstance(value, str):
            # what some databases can't hold
            values[name] = value.encode(errors="replace").decode().replace("\0", " ")
    return values


def unpack(kind: type[Row], row: Mapping[Any, Any]) -> Row:
    values = dict(row)
    for name in values.keys() & {"identity", "labels", "params", "curve", "provenance", "extras"}:
        values[name] = {} if values[name] is None and name == "extras" else json.loads(values[name])
    if "curve" in values:
        values["curve"] = {int(epoch): score for epoch, score in values["curve"].items()}
    return kind(**values)
