"""What the driver sends to a worker, and what it gets back."""

import json
from dataclasses import asdict, dataclass
from typing import Any

TRACEBACK = "traceback"
"""Key of a failed run's provenance: the full traceback."""

OUT_OF_MEMORY = "out of memory"
"""Start of the reason when a run may fit with a smaller micro-batch."""

NODE = "its node"
"""Start of the reason when the machine was at fault, not the job: it is retried however often that
happens."""


DIED = "the worker process died"
"""Start of the reason when the run itself may not be to blame: somebody, or the machine, killed its
process."""

FINAL, TRIAL, EAGER = range(3)
"""Kinds of a cell's next job: a final run; a trial; a trial that its search, which learns from
finished ones, would rather postpone."""


@dataclass(frozen=True)
class TuneJob:
    """Trains each of `points` on train, and scores it on val. Points are (trial number,
    hyper-parameters); more than one on cached features."""

    cell: str
    points: tuple[tuple[int, dict[str, Any]], ...]
    micro_batch: int | None = None
    """As a `Recipe`'s: half of what the last attempt ran out of memory with."""

    @property
    def runs(self) -> int:
        return len(self.points)

    @property
    def chosen(self) -> tuple[dict[str, Any], ...]:
        """The hyper-parameters of its runs."""
        return tuple(params for _, params in self.points)


@dataclass(frozen=True)
class FinalJob:
    """Trains with the chosen hyper-parameters on the final training set, and scores once on test:
    one run per seed.

    More than one seed with cached features, which are then computed once for all.
    """

    cell: str
    seeds: tuple[int, ...]
    params: dict[str, Any]
    micro_batch: int | None = None
    """As a `TuneJob`'s."""

    @property
    def runs(self) -> int:
        return len(self.seeds)

    @property
    def chosen(self) -> tuple[dict[str, Any], ...]:
        """As a `TuneJob`'s."""
        return (self.params,)


Job = TuneJob | FinalJob


def dump(job: Job) -> str:
    """A job as one line of JSON: the only configuration of a trial that Ray Tune sees."""
    return json.dumps({"kind": "tune" if isinstance(job, TuneJob) else "final", **asdict(job)})


def parse(text: str) -> Job:
    fields = json.loads(text)
    if fields.pop("kind") == "final":
        return FinalJob(**{**fields, "seeds": tuple(fields["seeds"])})
    return TuneJob(
        **{**fields, "points": tuple((number, params) for number, params in fields["points"])}
    )


@dataclass(frozen=True)
class Outcome:
    """One finished training run of a job. `score` is None if it failed, and `reason` says
    why."""

    score: float | None
    curve: dict[int, float]
    seconds: float
    units: float
    reason: str | None = None
    trainable: int = 0
    head_params: int = 0
    logits_sha256: str = ""
    memory: int = 0
    """Peak bytes: of the device's memory on CUDA, else of the worker process, libraries and
    all."""
    provenance: dict[str, Any] | None = None
    extras: dict[str, Any] | None = None
    """As a `Score`'s."""
    train_only: int = 0
    curves: dict[str, list[float | None]] | None = None
    """As a `Score`'s."""


def smaller(micro_batch: int | None, batch_size: int) -> int | None:
    """Half of what ran out of memory; None if it was a single image."""
    before = micro_batch or batch_size
    return before // 2 if before > 1 else None
