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


class Search(BaseModel):
    """How a point is chosen: what protocols of both kinds of task say of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sampler: Literal["tpe", "random", "grid"]
    trials: int | None = Field(default=None, gt=0)
    """Points of a search; None: the whole grid."""
    pruner: Literal["none", "median"] = "none"
    score_every: int | None = Field(default=None, gt=0)
    """Epochs (or iterations) between readings of val while tuning, for the pruner; None: after the last one only."""
    prune_from: int = Field(default=0, ge=0)
    """The first of them whose reading may end a trial: while the learning rate is high, good points look bad."""
    method_space: dict[str, Choices | Range] = {}
    """By argument: narrows the methods' own search spaces to values that they allow. A method that allows none of them keeps its own."""
    normalize: Literal["imagenet", "backbone", "none", "inception"] = "imagenet"
    """Which mean and std are taken out of the pixels; `--normalize` wins. No part of `identity`: the task's has the numbers."""

    @property
    def last(self) -> int:
        """The epoch (or iteration) that training ends with, counted from 1."""
        raise NotImplementedError

    @property
    def arguments(self) -> frozenset[str]:
        """Names of its own that a search or a variant may choose."""
        raise NotImplementedError

    def score_at(self) -> tuple[int, ...]:
        """The epochs (or iterations), counted from 1, after which a tuning trial is scored on val."""
        return (*range(self.score_every, self.last, self.score_every), self.last) if self.score_every else (self.last,)


class Segmentation(Search):
    """A protocol's table [segmentation]: how it tunes and trains where every pixel has a class. `identity` keys a result by it."""

    name: str = ""
    """With title and seeds: the protocol's, unless the table has its own."""
    title: str = ""
    seeds: tuple[int, ...] = ()
    optimizer: Literal["sgd", "adamw"]
    base_lr: float = Field(gt=0)
    """At batch size 256, as in classification: the one used is base_lr * batch_size / 256. `space` may replace it."""
    weight_decay: float = Field(default=0.0, ge=0)
    head_factor: float = Field(default=10.0, gt=0)
    """The head's learning rate, in the method's."""
    power: float = Field(default=0.9, gt=0)
    lowest_lr: float = Field(default=0.0, ge=0)
    """What the polynomial schedule ends at; not scaled."""
    iterations: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    space: dict[str, Choices | Range] = {}
    """`base_lr` and `weight_decay`, where they are searched."""
    multi_scale: bool = False
    """Whether final runs are scored on several scales too. Changes no score: no part of the identity."""

    @property
    def last(self) -> int:
        return self.iterations

    @property
    def arguments(self) -> frozenset[str]:
        return frozenset(("base_lr", "weight_decay"))

    def identity(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"name", "title", "seeds", "multi_scale", "normalize"})


class Protocol(Search):
    """A protocol's file. `identity` is the part of it that a classification result is keyed by."""

    name: str
    title: str
    optimizer: Literal["sgd", "adamw"]
    epochs: int = Field(gt=0)
    warmup_epochs: int = Field(ge=0)
    batch_size: int = Field(gt=0)
    seeds: tuple[int, ...] = Field(min_length=1)
    """Of the final runs. Not part of the identity: a result's key holds its own seed."""
    space: dict[str, Choices | Range]
    """`base_lr` and `weight_decay`."""
    segmentation: Segmentation | None = None

    @property
    def last(self) -> int:
        return self.epochs

    @property
    def arguments(self) -> frozenset[str]:
        return frozenset(self.space)

    def identity(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"name", "title", "seeds", "segmentation", "normalize"})

    def of(self, kind: str) -> "Settings":
        """What it says of one kind of task. Raises `BadInput` where it says nothing."""
        if kind == "classification":
            return self
        own = self.segmentation
        if own is None:
            raise BadInput(f"protocol {self.name} has no table [segmentation]: add one, or give another --protocol.")
        normalize = own.normalize if "normalize" in own.model_fields_set else self.normalize
        shared = {"name": self.name, "title": own.title or self.title, "seeds": own.seeds or self.seeds, "normalize": normalize}
        return own.model_copy(update=shared)


Settings = Protocol | Segmentation
"""What a protocol says of one kind of task."""


def names() -> list[str]:
    return sorted(path.stem for path in Path(__file__).parent.glob("*.toml"))


def load(name: str, trials: int | None = None) -> Protocol:
    """A shipped protocol by name, or a user's own by the path of its .toml; `trials` replaces its number of trials. Raises `BadInput`."""
    path = Path(name) if name.endswith(".toml") else Path(__file__).parent / f"{name}.toml"
    if not path.is_file():
        raise unknown("protocol", name, names())
    try:
        protocol = Protocol(name=path.stem, **tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = min(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")  # a misspelt key says more than the missing one
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"protocol {path}: {plain(where)[:100]}: {plain(first['msg'])[:200]}.") from error
    except (OSError, ValueError, TypeError, RecursionError) as error:  # TOML's and Unicode's are ValueErrors
        raise BadInput(f"protocol {path}: syntax: {plain(str(error))[:200]}.") from error
    if trials is None:
        return protocol
    own = protocol.segmentation and protocol.segmentation.model_copy(update={"trials": trials})
    return protocol.model_copy(update={"trials": trials, "segmentation": own})


def stored(kind: str, name: str, seed: int, identity: dict[str, Any]) -> Settings:
    """A protocol from what a result is keyed by."""
    return (Protocol if kind == "classification" else Segmentation)(name=name, title="", seeds=(seed,), **identity)


def grid(space: dict[str, BaseDistribution]) -> list[dict[str, Any]]:
    """The Cartesian product of a space of choices, the last name varying fastest. Raises `BadInput` for a range."""
    axes = []
    for name, distribution in space.items():
        if not isinstance(distribution, CategoricalDistribution):
            where = "write {choices = [...]} (in [method_space] for a method's argument), or use sampler 'tpe'"
            raise BadInput(f"a grid needs choices, and {name} is a range: {where}.")
        axes.append(distribution.choices)
    return [dict(zip(space, point, strict=True)) for point in product(*axes)]
