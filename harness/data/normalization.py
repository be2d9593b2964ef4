"""The mean and standard deviation, by channel, that are taken out of an image's values of 0 to 1
before a backbone sees it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Channels = tuple[float, float, float]
"""Red, green, blue."""


@dataclass(frozen=True)
class Statistics:
    """A backbone gets (value - mean) / std. They are a part of what a score depends on, and so of a
    result's identity."""

    mean: Channels
    std: Channels

    def identity(self) -> dict[str, list[float]]:
        """As a result is keyed by them: the numbers, whatever name they were asked for by."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @property
    def name(self) -> str:
        """`imagenet`, `inception`, `none`; or the numbers themselves."""
        known = (name for name, statistics in NAMED.items() if statistics == self)
        return next(
            known,
            "/".join(
                ",".join(f"{value:.5g}" for value in values) for values in (self.mean, self.std)
            ),
        )


IMAGENET = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""For every backbone in VPT's released code, whatever it was trained with."""
INCEPTION = Statistics((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NONE = Statistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
NAMED = {"imagenet": IMAGENET, "inception": INCEPTION, "none": NONE}
BACKBONES_OWN = "backbone"
"""Instead of a name: those that the backbone was trained with."""
NAMES = (*NAMED, BACKBONES_OWN)


def said(statistics: Statistics) -> str:
    """For a reader: the name, where there is one, and the numbers."""
    mean, std = (
        ", ".join(f"{value:.4g}" for value in values)
        for values in (statistics.mean, statistics.std)
    )
    return (
        f"{statistics.name if statistics.name in NAMED else 'the backbone'} (mean {mean}; std"
        f" {std})"
    )


def of(identity: Mapping[str, Any]) -> Statistics:
    """From a result's identity. One that was stored before it had them says none, and was made with
    ImageNet's."""
    numbers = identity["task"].get("normalize")
    return from_lists(numbers["mean"], numbers["std"]) if numbers else IMAGENET


def from_lists(mean: Any, std: Any) -> Statistics:
    """From somebody's lists of three numbers. Raises `ValueError`."""
    channels = tuple(tuple(float(value) for value in values) for values in (mean, std))
    if any(len(values) != 3 for values in channels) or not all(value > 0 for value in channels[1]):
        raise ValueError("statistics are three means and three deviations above zero")
    return Statistics(channels[0], channels[1])  # type: ignore[arg-type]
