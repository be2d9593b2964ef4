"""Kinds of task: what their cards contain, what predictions are compared with, in which metric.

`harness.training.kind.Kind` defines how a kind is trained and scored. This half doesn't import
torch, so that listing tasks and printing leaderboards is fast.
"""

from dataclasses import dataclass
from typing import Literal

IGNORED = 255
"""In a mask: this pixel is ignored in training and scoring."""


@dataclass(frozen=True)
class Metric:
    """A score, in percent."""

    name: str
    """In cards and stores."""
    title: str
    """In captions."""
    published: str = ""
    """In published.csv, for comparable numbers; empty: there are none."""
    scales: bool = False
    """Whether it may be measured at several scales too: boards then call the two SS and MS."""


@dataclass(frozen=True)
class TaskKind:
    """What holds for all cards of a kind."""

    name: str
    metric: Metric
    pixels: tuple[str, ...]
    """The values of `pixels` that its cards may have."""
    target: Literal["label", "mask"] = "label"
    """What an image is trained on, and predictions are compared with."""
    cropped: bool = False
    """Whether a card says `crop`, the side of the squares that a backbone takes; else it is the
    backbone's."""
    table: str = ""
    """The protocol's table that says how it is tuned and trained; empty: the file itself."""
    most_classes: int | None = None

    def labels(self, classes: int) -> int:
        """How many values a record's label has, counted from 0."""
        return classes


TOP1 = Metric("top1", "Top-1 accuracy", published="top1")
MIOU = Metric("miou", "mIoU", published="mIoU-SS", scales=True)

CLASSIFICATION = TaskKind("classification", TOP1, ("tf", "pil", "vpt"))
SEGMENTATION = TaskKind(
    "segmentation",
    MIOU,
    ("setr",),
    target="mask",
    cropped=True,
    table="segmentation",
    most_classes=IGNORED,  # the values below the one for ignored pixels
)

KINDS = {kind.name: kind for kind in (CLASSIFICATION, SEGMENTATION)}
"""By the name that cards use."""


def metric_of(name: str) -> Metric:
    """A stored metric; for an unknown kind, only its name."""
    known = (kind.metric for kind in KINDS.values())
    return next((metric for metric in known if metric.name == name), Metric(name, name))


def has_scales(kind: object) -> bool:
    """Whether results of a kind, as a store names it, may be scored at several scales too."""
    return kind in KINDS and KINDS[str(kind)].metric.scales
