"""Entries of a search space in TOML: `{choices = [...]}` or `{low = ..., high = ...}`."""

from typing import Annotated, Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from harness.errors import BadInput
from harness.planning.space import points


class Choices(BaseModel):
    """One of a list."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    choices: tuple[bool | int | float | str, ...] = Field(min_length=1)

    def distribution(self) -> BaseDistribution:
        return CategoricalDistribution(self.choices)


class Range(BaseModel):
    """A number between two bounds, both included; uniform in its logarithm if `log`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _check(self) -> "Range":
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a range with log = true begins above 0, not at {self.low:g}")
        return self

    def distribution(self) -> BaseDistribution:
        return FloatDistribution(self.low, self.high, log=self.log)


def _form(entry: Any) -> str:
    """Which of the two forms an entry has, so that a fault is said of that one."""
    listed = "choices" in entry if isinstance(entry, dict) else isinstance(entry, Choices)
    return "[choices]" if listed else "[range]"


Entry = Annotated[
    Annotated[Choices, Tag("[choices]")] | Annotated[Range, Tag("[range]")], Discriminator(_form)
]


def grid(space: dict[str, BaseDistribution]) -> list[dict[str, Any]]:
    """The Cartesian product of a space of choices, the last name varying fastest. Raises `BadInput`
    for a range."""
    for name, distribution in space.items():
        if not isinstance(distribution, CategoricalDistribution):
            where = (
                "write {choices = [...]} (in [method_space] for a method's argument), or use"
                " sampler 'tpe'"
            )
            raise BadInput(f"a grid needs choices, but {name} is a range: {where}.")
    return list(points(space))
