"""The mean and standard deviation, by channel, with which an image's values of 0 to 1 are
normalised for a backbone."""

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
        """How they enter a result's key: as numbers, whatever name was given."""
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
"""Used for every backbone in VPT's released code, whatever it was trained with."""
INCEPTION = Statistics((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NONE = Statistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
NAMED = {"imagenet": IMAGENET, "inception": INCEPTION, "none": NONE}
BACKBONES_OWN = "backbone"
"""Instead of a name: those that the backbone was trained with."""
NAMES = (*NAMED, BACKBONES_OWN)


def described(statistics: Statistics) -> str:
    """For display: the name, if there is one, and the numbers."""
    mean, std = (
        ", ".join(f"{value:.4g}" for value in values)
        for values in (statistics.mean, statistics.std)
    )
    return (
        f"{statistics.name if statistics.name in NAMED else 'the backbone'} (mean {mean}; std"
        f" {std})"
    )


def of(identity: Mapping[str, Any]) -> Statistics:
    """From a result's identity. Results from before these were recorded used ImageNet's."""
    numbers = identity["task"].get("normalize")
    return from_lists(numbers["mean"], numbers["std"]) if numbers else IMAGENET


def from_lists(mean: Any, std: Any) -> Statistics:
    """From lists of three numbers each. Raises `ValueError`."""
    channels = tuple(tuple(float(value) for value in values) for values in (mean, std))
    if any(len(values) != 3 for values in channels) or not all(value > 0 for value in channels[1]):
        raise ValueError("statistics are three means and three deviations above zero")
    return Statistics(channels[0], channels[1])  # type: ignore[arg-type]
