"""Protocols: how every method of a comparison is tuned, trained and selected. One TOML file each, beside this one."""

import tomllib
from itertools import product
from pathlib import Path
from typing import Any, Literal

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import BadInput, unknown
from harness.plain import plain


class Choices(BaseModel):
    """One of a list."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    choices: tuple[bool | int | float | str, ...] = Field(min_length=1)

    def distribution(self) -> BaseDistribution:
        return CategoricalDistribution(self.choices)


class Range(BaseModel):
    """A number between two bounds, both included; uniform in its logarithm where `log`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    low: float
    high: float
    log: bool = False

    def distribution(self) -> BaseDistribution:
        return FloatDistribution(self.low, self.high, log=self.log)


class Protocol(BaseModel):
    """A protocol's file. `identity` is the part of it that a result is keyed by."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str
    optimizer: Literal["sgd", "adamw"]
    epochs: int = Field(gt=0)
    warmup_epochs: int = Field(ge=0)
    batch_size: int = Field(gt=0)
    seeds: tuple[int, ...] = Field(min_length=1)
    """Of the final runs. Not part of the identity: a result's key holds its own seed."""
    sampler: Literal["tpe", "random", "grid"]
    trials: int | None = Field(default=None, gt=0)
    """Points of a search; None: the whole grid."""
    pruner: Literal["none", "median"] = "none"
    score_every: int | None = Field(default=None, gt=0)
    """Epochs between readings of val while tuning, for the pruner; None: after the last epoch only."""
    prune_from: int = Field(default=0, ge=0)
    """The first epoch whose reading may end a trial: while the learning rate is high, good points look bad."""
    space: dict[str, Choices | Range]
    """`base_lr` and `weight_decay`."""
    method_space: dict[str, Choices | Range] = {}
    """Narrows the methods' own search spaces, by argument."""

    def identity(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"name", "title", "seeds"})

    def score_at(self) -> tuple[int, ...]:
        """The epochs (counted from 1) after which a tuning trial is scored on val."""
        return (*range(self.score_every, self.epochs, self.score_every), self.epochs) if self.score_every else (self.epochs,)


def names() -> list[str]:
    return sorted(path.stem for path in Path(__file__).parent.glob("*.toml"))


def load(name: str, trials: int | None = None) -> Protocol:
    """A shipped protocol by name, or a user's own by the path of its .toml; `trials` replaces its number of trials. Raises `BadInput`."""
    path = Path(name) if name.endswith(".toml") else Path(__file__).parent / f"{name}.toml"
    if not path.is_file():
        raise unknown("protocol", name, names())
    try:
        protocol = Protocol(name=path.stem, **tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:  # TOML's, Unicode's and pydantic's are ValueErrors
        where = ".".join(map(str, error.errors()[0]["loc"])) if isinstance(error, ValidationError) else "syntax"
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise BadInput(f"protocol {path}: {plain(where)[:100]}: {plain(str(what))[:200]}.") from error
    return protocol if trials is None else protocol.model_copy(update={"trials": trials})


def grid(space: dict[str, BaseDistribution]) -> list[dict[str, Any]]:
    """The Cartesian product of a space of choices, the last name varying fastest. Raises `BadInput` for a range."""
    axes = []
    for name, distribution in space.items():
        if not isinstance(distribution, CategoricalDistribution):
            raise BadInput(f"a grid needs choices, and {name} is a range: write {{choices = [...]}}, or use sampler 'tpe'.")
        axes.append(distribution.choices)
    return [dict(zip(space, point, strict=True)) for point in product(*axes)]
