"""Papers' numbers, read once: to be looked up by what is measured."""

from functools import cache

from harness.reporting.published.numbers import (
    BACKBONES,
    SEGMENTERS,
    PublishedNumber,
    named_here,
    published,
)
from harness.tasks.kinds import TOP1, metric_of

Place = tuple[str, str, str, str, str]


@cache
def numbers() -> tuple[PublishedNumber, ...]:
    """All that ship with the harness."""
    return tuple(published())


def named(backbone: str, metric: str) -> tuple[str, str] | None:
    """A backbone as papers name it: architecture and pretraining."""
    return (BACKBONES if metric == TOP1.name else SEGMENTERS).get(backbone)


def printed(method: str, task: str, backbone: str, metric: str) -> list[float]:
    """What papers print of a method without brackets, on a task with a backbone."""
    place = named(backbone, metric)
    if place is None:
        return []
    return _printed().get((method, task, *place, metric_of(metric).published), [])


@cache
def _printed() -> dict[Place, list[float]]:
    found: dict[Place, list[float]] = {}
    for one in numbers():
        key = (named_here(one.method), one.task, one.backbone, one.pretrain, one.metric)
        found.setdefault(key, []).append(one.value)
    return found
