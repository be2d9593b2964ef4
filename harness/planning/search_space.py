"""What a search chooses from: a method's own space, as a cell's protocol narrows it."""

from collections.abc import Iterable, Mapping
from typing import Any

from optuna.distributions import BaseDistribution

from harness.planning import protocols
from harness.planning.declaration import defaults
from harness.planning.protocols import Settings
from harness.planning.space import described, narrowed, size
from harness.planning.variant import Variant


def search_space(variant: Variant, protocol: Settings) -> dict[str, BaseDistribution]:
    """What remains to be chosen under a cell's protocol: the method's own arguments, then the
    protocol's, without fixed ones.

    A protocol's `method_space` narrows an argument to the values that the method allows: those in
    its `allows`, else in its space. If it allows none of them, its space is searched unchanged.
    """
    if protocol.fixed:
        return {}
    fixed = {**protocol.method_arguments, **variant.arguments}
    own_space = {
        name: narrowed_to(variant, name, distribution, protocol) or distribution
        for name, distribution in variant.method.space(fixed).items()
        if name not in protocol.space
    }
    shared = {name: entry.distribution() for name, entry in protocol.space.items()}
    return {
        name: distribution
        for name, distribution in {**own_space, **shared}.items()
        if name not in fixed
    }


def narrowed_to(
    variant: Variant, name: str, own: BaseDistribution, protocol: Settings
) -> BaseDistribution | None:
    """What a protocol leaves of a method's argument; None if it has no value that the method
    allows."""
    entry = protocol.method_space.get(name)
    return (
        own
        if entry is None
        else narrowed(_allowed(variant.method).get(name, own), entry.distribution())
    )


def _allowed(method: type) -> Mapping[str, BaseDistribution]:
    """A class's `allows`; nothing if it inherits that from a class whose search space it
    replaces."""
    for of in method.__mro__:
        if "allows" in vars(of):
            return vars(of)["allows"]
        if "search_space" in vars(of):
            break
    return {}


def search_size(space: Mapping[str, BaseDistribution], protocol: Settings) -> int:
    """Points that a search of `space` tries: the protocol's trials, at most all points that there
    are, and none if there is nothing to choose."""
    if not space:
        return 0
    if protocol.sampler == "grid":
        points = len(protocols.grid(dict(space)))
        return min(points, protocol.trials or points)
    return int(min(protocol.trials or 1, size(space)))


def searched(cells: Iterable[tuple[Variant, Settings]]) -> list[str]:
    """Lines for a plan: what is searched for each variant, and where a protocol narrowed it, or
    couldn't. Variants with the same space share one."""
    labels: dict[str, dict[str, None]] = {}
    for variant, protocol in cells:
        labels.setdefault(_space_text(variant, protocol), {})[variant.label] = None
    return [
        f"{', '.join(names)} {'searches' if len(names) == 1 else 'search'} {text}."
        for text, names in labels.items()
    ]


def _space_text(variant: Variant, protocol: Settings) -> str:
    parts: list[str] = []
    for name, distribution in search_space(variant, protocol).items():
        text, own_space = f"{name} {described(distribution)}", variant.method.search_space.get(name)
        if own_space is not None and narrowed_to(variant, name, own_space, protocol) is None:
            requested = described(protocol.method_space[name].distribution())
            text += f" (its own: protocol {protocol.name} has {requested}, none of which it allows)"
        elif own_space is not None and described(own_space) != described(distribution):
            text += f" (protocol {protocol.name}; its own are {described(own_space)})"
        parts.append(text)
    return "; ".join(parts) or "nothing"


def settled(
    variant: Variant, protocol: Settings, space: Mapping[str, BaseDistribution]
) -> dict[str, Any]:
    """A method's arguments that aren't searched, including defaults; and the protocol's arguments
    that a variant fixes."""
    fixed = {
        **defaults(variant.method),
        **own_arguments({}, protocol),
        **protocol.fixed,
        **variant.arguments,
    }
    return {
        name: value
        for name, value in fixed.items()
        if name not in space and type(value) in (bool, int, float, str)
    }


def own_arguments(chosen: Mapping[str, Any], protocol: Settings) -> dict[str, Any]:
    """The arguments for the method's constructor: those chosen, and those that a cell's protocol
    fixes."""
    return {
        **protocol.method_arguments,
        **{name: value for name, value in chosen.items() if name not in protocol.arguments},
    }
