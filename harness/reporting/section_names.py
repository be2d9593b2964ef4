"""What sections of a report are called: a backbone and a protocol by their names, and by what sets
them apart from others of the same name."""

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from harness.backbones import own_side
from harness.reporting.rows import CellSummary
from harness.tasks.kinds import metric_of
from harness.text import some

MOST = 3
"""Settings that a name lists; one that differs in more is another file, and is named by its
content."""
LONGEST = 24
"""Characters of a setting's value; longer ones are named by their content."""


class NamedProtocol(NamedTuple):
    """A protocol of stored rows."""

    name: str
    """Its file's."""
    metric: str
    settings: str
    """What it says about all cells, as JSON."""


def protocol_names(protocols: Collection[NamedProtocol]) -> dict[NamedProtocol, str]:
    """`mini`; of several that share a file's name and a metric, `mini, 4 trials` and `mini, 1
    trial`: by the settings in which they differ. No two of a metric have the same name."""
    different = list(dict.fromkeys(protocols))
    names = {one: _protocol(one, different) for one in different}
    taken = [(one.metric, name) for one, name in names.items()]
    return {
        one: f"{name} ({_digest(one.settings)})" if taken.count((one.metric, name)) > 1 else name
        for one, name in names.items()
    }


def section_names(firsts: Sequence[CellSummary]) -> list[tuple[str, str]]:
    """Of each section, by a cell of it: its backbone's name and its protocol's. Two sections of a
    suite share a pair only where their metrics differ."""
    protocols = [NamedProtocol(one.protocol, one.metric, one.settings) for one in firsts]
    names = protocol_names(protocols)
    return [
        (_backbone(first, [one for one in firsts if one.backbone == first.backbone]), names[of])
        for first, of in zip(firsts, protocols, strict=True)
    ]


def with_metrics(titles: Sequence[tuple[str, str]], metrics: Sequence[str]) -> list[str]:
    """The protocol's name of each section, (suite and backbone, protocol), with its metric where
    two sections would have the same title."""
    return [
        f"{title[1]}, {metric_of(metric).title}" if titles.count(title) > 1 else title[1]
        for title, metric in zip(titles, metrics, strict=True)
    ]


def _backbone(first: CellSummary, namesakes: Sequence[CellSummary]) -> str:
    """Its name, and what sections of the same name differ in."""
    several = len({other.backbone_sha for other in namesakes}) > 1
    weights = f"@{first.backbone_sha[:8]}" if several else ""
    pooled = len({other.pooling for other in namesakes if other.metric == first.metric}) > 1
    pooling = f", pooling {first.pooling}" if pooled else ""
    return first.backbone + weights + _inputs(first, namesakes) + pooling


def _inputs(first: CellSummary, namesakes: Sequence[CellSummary]) -> str:
    """A backbone's inputs, where they differ from those that its name implies, or between sections
    of the same backbone."""
    default_side = own_side(first.backbone)
    several_sides = len({row.side for row in namesakes if row.metric == first.metric}) > 1
    unusual = first.metric == "top1" and first.side != str(default_side)
    side = first.side and (several_sides or unusual)
    several = len({row.normalize for row in namesakes}) > 1
    return (f" at {first.side} px" if side else "") + (
        f", normalized by {first.normalize}" if several or first.normalize != "imagenet" else ""
    )


def _protocol(one: NamedProtocol, others: Sequence[NamedProtocol]) -> str:
    """Its name, and what sets it apart from others of the same name and metric."""
    mine = json.loads(one.settings)
    namesakes = [
        json.loads(other.settings)
        for other in others
        if (other.name, other.metric) == (one.name, one.metric)
    ]
    known = [name for name in _FLAGS if any(name in other for other in namesakes)]
    differing = [
        name
        for name in dict.fromkeys([*known, *mine])
        if any(other.get(name) != mine.get(name) for other in namesakes)
    ]
    said = [text for name in differing if (text := _said(name, mine.get(name)))]
    if len(said) > MOST:
        said = [*said[: MOST - 1], f"another file ({_digest(one.settings)})"]
    return ", ".join([one.name, *said])


def _said(name: str, value: Any) -> str:
    """A setting in words: as the flag that sets it, else as in its file."""
    if name in _FLAGS:
        return _FLAGS[name](value)
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return f"{name}={text}" if len(text) <= LONGEST else f"{name} {_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _count(noun: str, otherwise: str = "") -> Callable[[Any], str]:
    def said(value: Any) -> str:
        return some(value, noun) if type(value) is int else otherwise

    return said


_FLAGS: dict[str, Callable[[Any], str]] = {
    "trials": _count("trial", "the whole grid"),
    "epochs": _count("epoch"),
    "iterations": _count("iteration"),
    "precision": lambda value: str(value or "fp32"),
    "hparams": lambda value: f"hyper-parameters of {value}" if value else "",
    "start": lambda value: f"started from {value}" if value else "",
}
"""Settings that flags set, or that say most, each in words; empty for nothing to say."""
