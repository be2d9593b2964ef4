"""The kinds of task that a run can train, by name."""

from typing import Any

from harness.tasks.kinds import KINDS as ON_PAPER
from harness.training.classification import Classification
from harness.training.kind import Kind
from harness.training.segmentation import Segmentation

KINDS: dict[str, Kind[Any]] = {}
"""By the name that cards use. A new kind has its line below."""


def register(kind: Kind[Any]) -> None:
    """Adds a kind: from then on cards may name it."""
    KINDS[kind.task.name] = kind
    ON_PAPER[kind.task.name] = kind.task


for _kind in (Classification(), Segmentation()):
    register(_kind)


def kind_of(name: str) -> Kind[Any]:
    """The kind that cards call by this name."""
    return KINDS[name]
