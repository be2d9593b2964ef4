"""What a job came to."""

from typing import Any

from harness.engine.jobs import Job, Outcome
from harness.engine.trainer import Trainer


def outcome_of(trainer: Trainer, job: Job) -> Outcome:
    """Of a job of one point."""
    *_, outcomes = trainer.run(job)
    assert isinstance(outcomes, list)
    (outcome,) = outcomes
    return outcome


def provenance_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.provenance is not None
    return outcome.provenance
