"""What a search may choose for one argument: a method's distribution, narrowed by a protocol, and
its description."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)


def narrowed(own: BaseDistribution, to: BaseDistribution) -> BaseDistribution | None:
    """The values that `own`, a method's, and `to`, a protocol's, have in common; None if there
    are none.

    They keep the method's type: an integer argument gets integers, and one with a step respects it.
    """
    if isinstance(own, CategoricalDistribution):
        return _choices([value for value in own.choices if _has(to, value)])
    if isinstance(to, CategoricalDistribution):
        return _choices([_as(own, value) for value in to.choices if _has(own, value)])
    assert isinstance(own, IntDistribution | FloatDistribution)
    assert isinstance(to, IntDistribution | FloatDistribution)
    low, high = max(own.low, to.low), min(own.high, to.high)
    if own.step is not None:
        low = own.low + math.ceil(round((low - own.low) / own.step, 9)) * own.step
        high = own.low + math.floor(round((high - own.low) / own.step, 9)) * own.step
    if low > high:
        return None
    log = (own.log or to.log) and low > 0 and own.step in (None, 1)
    if isinstance(own, IntDistribution):
        return IntDistribution(int(low), int(high), log=log, step=own.step)
    return FloatDistribution(low, high, log=log, step=own.step)


def chosen(distribution: BaseDistribution, value: Any) -> Any:
    """A value as a search of this distribution would choose it; None for one that it can't."""
    if value is None or not _has(distribution, value):
        return None
    if isinstance(distribution, CategoricalDistribution):
        return next(
            choice
            for choice in distribution.choices
            if isinstance(value, bool) == isinstance(choice, bool) and value == choice
        )
    return int(value) if isinstance(distribution, IntDistribution) else float(value)


def described(distribution: BaseDistribution) -> str:
    """`10, 20`; `1 to 200`; `0.15 to 2 (log)`."""
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(
            str(value).lower() if isinstance(value, bool) else str(value)
            for value in distribution.choices
        )
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    step = f" in steps of {distribution.step:g}" if distribution.step not in (None, 1) else ""
    return (
        f"{distribution.low:g} to {distribution.high:g}{step}{' (log)' if distribution.log else ''}"
    )


def values(distribution: BaseDistribution) -> list[Any] | str:
    """For a cell's labels: the choices, else a text."""
    return (
        list(distribution.choices)
        if isinstance(distribution, CategoricalDistribution)
        else described(distribution)
    )


def size(space: Mapping[str, BaseDistribution]) -> float:
    """How many points a space has; infinitely many where one of its arguments is a range of real
    numbers."""
    return math.prod(
        math.inf if (axis := _axis(distribution)) is None else len(axis)
        for distribution in space.values()
    )


def points(space: Mapping[str, BaseDistribution]) -> Iterator[dict[str, Any]]:
    """All points of a space, the last name varying fastest; none of one that has infinitely
    many."""
    axes = [axis for distribution in space.values() if (axis := _axis(distribution)) is not None]
    if len(axes) == len(space):
        for point in product(*axes):
            yield dict(zip(space, point, strict=True))


def _axis(distribution: BaseDistribution) -> Sequence[Any] | None:
    """The values of one argument; None for a range of real numbers."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    return None


def largest(distribution: BaseDistribution) -> Any:
    """The largest number of a distribution; None if its values aren't numbers."""
    if isinstance(distribution, CategoricalDistribution):
        numbers: list[Any] = [value for value in distribution.choices if _is_number(value)]
        return max(numbers) if len(numbers) == len(distribution.choices) else None
    return getattr(distribution, "high", None)


def middle(distribution: BaseDistribution) -> Any:
    """A default value: the middle of a range, of its logarithm if it is searched that way; the
    middle one of choices, the earlier of two."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[(len(distribution.choices) - 1) // 2]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high = distribution.low, distribution.high
    value = math.sqrt(low * high) if distribution.log else (low + high) / 2
    if distribution.step is not None:
        value = low + round((value - low) / distribution.step) * distribution.step
    return _as(distribution, value)


def _as(own: BaseDistribution, value: Any) -> Any:
    return int(value) if isinstance(own, IntDistribution) else value


def _choices(values: Sequence[Any]) -> BaseDistribution | None:
    return CategoricalDistribution(values) if values else None


def _has(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return any(
            isinstance(value, bool) == isinstance(choice, bool) and value == choice
            for choice in distribution.choices
        )
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if not _is_number(value) or not distribution.low <= value <= distribution.high:
        return False
    if distribution.step is None:
        return True
    steps = (value - distribution.low) / distribution.step
    return abs(steps - round(steps)) < 1e-9 * max(1.0, abs(steps))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
