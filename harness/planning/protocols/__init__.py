"""Protocols: how every method of a comparison is tuned, trained and selected. One TOML file each,
beside this one."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from harness.errors import BadInput, nearest, unknown
from harness.io.toml import first_error, read_toml, validated
from harness.planning.protocols.overrides import AT_A_POINT, FOR_ALL, Override, merged
from harness.tasks.kinds import KINDS
from harness.text import plain

if TYPE_CHECKING:
    from harness.planning.variants import Variant


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


Optimizer = Literal["sgd", "adamw"]
NoDecay = Literal["head", "biases", "vectors"]
"""What weight decay spares: of the head its bias (in segmentation its biases and norms); all biases
too; or all 1-d tensors too."""
HeadInit = Literal["kaiming_normal", "xavier_uniform"]
"""Of the linear head's weights: N(0, 2 / classes), which is kaiming normal of the fan out, as VPT's
code has it; or xavier uniform."""
TrainOn = Literal["train+val", "train"]
SEARCHED = ("base_lr", "weight_decay")
"""What every protocol's space has."""


class Search(BaseModel):
    """What protocols of both kinds of task say: how a point is chosen and a step taken, and for
    which cells something else holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = ""
    title: str = ""
    seeds: tuple[int, ...] = ()
    """Of the final runs. Not part of the identity: a result's key holds its own seed."""
    sampler: Literal["tpe", "random", "grid"]
    trials: int | None = Field(default=None, gt=0)
    """Points of a search; None: the whole grid."""
    pruner: Literal["none", "median"] = "none"
    score_every: int | None = Field(default=None, gt=0)
    """Epochs (or iterations) between readings of val while tuning, for the pruner; None: after the
    last one only."""
    prune_from: int = Field(default=0, ge=0)
    """The first of them whose reading may end a trial: while the learning rate is high, good points
    look bad."""
    optimizer: Optimizer
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """SGD's."""
    eps: float = Field(default=1e-8, gt=0)
    """AdamW's."""
    no_decay: NoDecay = "head"
    batch_size: int = Field(gt=0)
    train_on: TrainOn | None = None
    """What a final run trains on; None: what the task's card says."""
    space: dict[Literal["base_lr", "weight_decay"], Choices | Range] = {}
    method_space: dict[str, Choices | Range] = {}
    """By argument: narrows the methods' own search spaces to values that they allow. A method that
    allows none of them keeps its own."""
    normalize: Literal["imagenet", "backbone", "none", "inception"] = "imagenet"
    """Which mean and std are taken out of the pixels; `--normalize` wins. No part of `identity`:
    the task's has the numbers."""
    method_arguments: dict[str, bool | int | float | str] = {}
    """Fixes arguments of the methods, which must have them, and takes them out of the search; what
    a variant says wins."""
    override: tuple[Override, ...] = ()
    """What holds for some cells or points alone."""
    _stored: dict[str, Any] | None = PrivateAttr(default=None)
    """The identity that it was read from, in a store."""

    @property
    def last(self) -> int:
        """The epoch (or iteration) that training ends with, counted from 1."""
        raise NotImplementedError

    @property
    def arguments(self) -> frozenset[str]:
        """Names of its own that a search or a variant may choose."""
        return frozenset((*SEARCHED, "head_weight_decay"))

    @property
    def largest_batch(self) -> int:
        """Of any point."""
        return max(
            self.batch_size,
            *(override.fields.get("batch_size", 0) for override in self.override),
            0,
        )

    def score_at(self) -> tuple[int, ...]:
        """The epochs (or iterations), counted from 1, after which a tuning trial is scored on
        val."""
        return (
            (*range(self.score_every, self.last, self.score_every), self.last)
            if self.score_every
            else (self.last,)
        )

    def identity(self) -> dict[str, Any]:
        """The part of it that a result is keyed by: of one for a cell, all that the cell's numbers
        depend on."""
        if self._stored is not None:
            return self._stored
        fields = self.model_dump(
            mode="json",
            exclude={
                "name",
                "title",
                "seeds",
                "segmentation",
                "multi_scale",
                "normalize",
                "override",
            },
        )
        return {**fields, "override": [override.said() for override in self.override]}

    def for_cell(self, variant: "Variant", suite: str, backbone: str, train_on: TrainOn) -> Self:
        """What of it holds for a method variant on a task of `suite`, whose card says `train_on`,
        with a backbone, and nothing else.

        The last one wins: the file; overrides with a pattern for the method; what the method's
        class says; overrides with its name; and at a point of the search those that its values
        meet. Raises `BadInput`.
        """
        from harness.planning.variants import own_arguments

        own = self._fields()
        # of a cell already; or of before there were overrides, when the class's word was the last
        # one
        if self._stored is not None:
            return self if "override" in self._stored else self._with(self._of_class(variant, own))
        known, searched = own_arguments(variant.method), variant.method.search_space
        fitting = [
            override for override in self.override if override.fits(variant.name, suite, backbone)
        ]
        by_name = [override for override in fitting if variant.name in override.method]
        for override in fitting:
            if not override.when and override not in by_name:
                own = merged(own, override.fields)
        own = self._of_class(variant, own)
        for override in by_name:
            if not override.when:
                own = merged(own, override.fields)
        for name in (
            *own["method_arguments"],
            *(name for override in by_name for name in override.when if name not in self.arguments),
        ):
            if name not in known:
                raise BadInput(
                    f"protocol {self.name}: {variant.name} has no argument"
                    f" '{name}'.{nearest(name, known)}"
                )
        for table in ("space", "method_space", "method_arguments"):
            own[table] = {
                name: entry for name, entry in own[table].items() if name not in variant.arguments
            }
        own["method_space"] = {
            name: entry
            for name, entry in own["method_space"].items()
            if name in searched and name not in own["method_arguments"]
        }
        own["train_on"] = own["train_on"] or train_on
        defaults = {
            name: parameter.default
            for name, parameter in known.items()
            if name not in {*searched, *own["space"]}
        }
        fixed = {**defaults, **own["method_arguments"], **variant.arguments}
        points = []
        for override in fitting:
            left = override.left(fixed) if override.when else None
            if left is not None and not left.when:
                own = merged(own, left.fields)
            elif left is not None:
                points.append(left)
        return self._with({**own, "override": tuple(points)})

    def within(self, space: Mapping[str, BaseDistribution]) -> Self:
        """Without what only holds at points that a search of `space` can't choose."""
        if self._stored is not None:
            return self
        return self.model_copy(
            update={
                "override": tuple(
                    override for override in self.override if _reachable(override, space)
                )
            }
        )

    def at(self, chosen: Mapping[str, Any]) -> Self:
        """What of one for a cell holds at a point of its search."""
        fields: dict[str, Any] = {}
        for override in self.override:
            if override.when and override.met(chosen):
                fields |= override.fields
        return self.model_copy(update=fields)

    def _fields(self) -> dict[str, Any]:
        return {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name not in ("override", "segmentation")
        }

    def _with(self, fields: Mapping[str, Any]) -> Self:
        made = type(self)(**fields)
        made._stored = self._stored
        return made

    def _of_class(self, variant: "Variant", fields: Mapping[str, Any]) -> dict[str, Any]:
        """With what a method's class says of its optimiser and of what is searched in place of the
        protocol's word."""
        wrong = [
            name
            for name in variant.method.optimizer
            if name not in AT_A_POINT & set(type(self).model_fields)
        ]
        if wrong:
            raise BadInput(
                f"{variant.name}: optimizer has no entry"
                f" '{wrong[0]}'.{nearest(wrong[0], AT_A_POINT)}"
            )
        try:
            type(self)(**{**self._fields(), **variant.method.optimizer})
        except ValidationError as error:
            fault = first_error(type(self), error)
            raise BadInput(f"{variant.name}: its class's `optimizer` is wrong: {fault}") from error
        space = {
            name: entry
            for name, entry in fields["space"].items()
            if name not in variant.method.search_space
        }
        return {**fields, **variant.method.optimizer, "space": space}

    @model_validator(mode="after")
    def _overrides_are_valid(self) -> Self:
        """A wrong key or value is an error of the file, whether a cell meets the conditions or
        not."""
        for number, override in enumerate(self.override, 1):
            known = (
                set(type(self).model_fields) & AT_A_POINT
                if override.when
                else set(type(self).model_fields) - FOR_ALL
            )
            for key in override.fields:
                if key not in known:
                    what = (
                        "can't depend on a point of the search"
                        if key in type(self).model_fields and override.when
                        else "unknown key"
                    )
                    what = "is the same for all" if key in FOR_ALL else what
                    raise ValueError(f"override {number}: {key}: {what}.{nearest(key, known)}")
            try:
                type(self)(**merged(self._fields(), override.fields))
            except ValidationError as error:
                raise ValueError(f"override {number}: {first_error(type(self), error)}") from error
        return self


class Segmentation(Search):
    """A protocol's table [segmentation]: how it tunes and trains where every pixel has a class.
    `identity` keys a result by it.

    Name, title and seeds are the protocol's, unless the table has its own.
    """

    base_lr: float = Field(gt=0)
    """At batch size 256, as in classification: the one used is base_lr * batch_size / 256. `space`
    may replace it."""
    weight_decay: float = Field(default=0.0, ge=0)
    head_factor: float = Field(default=10.0, gt=0)
    """The head's learning rate, in the method's."""
    power: float = Field(default=0.9, gt=0)
    lowest_lr: float = Field(default=0.0, ge=0)
    """What the polynomial schedule ends at; not scaled."""
    iterations: int = Field(gt=0)
    multi_scale: bool = False
    """Whether final runs are scored on several scales too. Changes no score: no part of the
    identity."""

    @property
    def last(self) -> int:
        return self.iterations

    @property
    def head_init(self) -> HeadInit:
        """Of a linear head; that of segmentation has its own."""
        return "kaiming_normal"


class Protocol(Search):
    """A protocol's file."""

    epochs: int = Field(gt=0)
    warmup_epochs: int = Field(ge=0)
    warmup_from_zero: bool = False
    """Whether the first epoch has learning rate 0, as in VPT's released code, and trains nothing;
    else a `warmup_epochs`-th of the peak."""
    head_init: HeadInit = "xavier_uniform"
    """As it was before a protocol could say it: a file of then means what it meant."""
    segmentation: Segmentation | None = None

    @property
    def last(self) -> int:
        return self.epochs

    @property
    def multi_scale(self) -> bool:
        """As a table [segmentation] may ask for it."""
        return False

    def of(self, kind: str) -> "Settings":
        """What it says of one kind of task. Raises `BadInput` where it says nothing."""
        table = KINDS[kind].table
        if not table:
            return self
        own: Segmentation | None = getattr(self, table)
        if own is None:
            raise BadInput(
                f"protocol {self.name} has no table [{table}]: add one, or give another --protocol."
            )
        normalize = own.normalize if "normalize" in own.model_fields_set else self.normalize
        shared = {
            "name": self.name,
            "title": own.title or self.title,
            "seeds": own.seeds or self.seeds,
            "normalize": normalize,
        }
        return own.model_copy(update=shared)


Settings = Protocol | Segmentation
"""What a protocol says of one kind of task."""


def names() -> list[str]:
    return sorted(path.stem for path in Path(__file__).parent.glob("*.toml"))


def load(name: str, trials: int | None = None) -> Protocol:
    """A shipped protocol by name, or a user's own by the path of its .toml; `trials` replaces its
    number of trials. Raises `BadInput`."""
    path = _path(name, Path())
    fields = _read(path)
    if "name" in fields:
        raise BadInput(f"protocol {path}: name: a protocol is called as its file; delete this key.")
    protocol = validated(Protocol, {**fields, "name": path.stem}, f"protocol {path}")
    said = {
        "title": protocol.title,
        "seeds": protocol.seeds,
        **{f"space.{name}": name in protocol.space for name in SEARCHED},
    }
    for field in (field for field, there in sorted(said.items()) if not there):
        raise BadInput(f"protocol {path}: {field}: Field required.")
    if trials is None:
        return protocol
    own = protocol.segmentation and protocol.segmentation.model_copy(update={"trials": trials})
    return protocol.model_copy(update={"trials": trials, "segmentation": own})


def stored(kind: str, name: str, seed: int, identity: dict[str, Any]) -> Settings:
    """A protocol from what a result is keyed by; what it doesn't say is the field's default."""
    protocol = (Segmentation if KINDS[kind].table else Protocol)(
        name=name, title="", seeds=(seed,), **identity
    )
    protocol._stored = identity
    return protocol


def grid(space: dict[str, BaseDistribution]) -> list[dict[str, Any]]:
    """The Cartesian product of a space of choices, the last name varying fastest. Raises `BadInput`
    for a range."""
    axes = []
    for name, distribution in space.items():
        if not isinstance(distribution, CategoricalDistribution):
            where = (
                "write {choices = [...]} (in [method_space] for a method's argument), or use"
                " sampler 'tpe'"
            )
            raise BadInput(f"a grid needs choices, but {name} is a range: {where}.")
        axes.append(distribution.choices)
    return [dict(zip(space, point, strict=True)) for point in product(*axes)]


def _path(name: str, beside: Path) -> Path:
    path = beside / name if name.endswith(".toml") else Path(__file__).parent / f"{name}.toml"
    if not path.is_file():
        raise unknown("protocol", name, names())
    return path


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A file's fields, those of the protocol that it `extends` first. Raises `BadInput`."""
    fields = read_toml("protocol", path)
    if "extends" not in fields:
        return fields
    extended = fields.pop("extends")
    if not isinstance(extended, str):
        raise BadInput(
            f"protocol {path}: extends: expected the name of a protocol or a .toml file in"
            " its folder."
        )
    other = _path(extended, path.parent)
    if other in (*above, path):
        raise BadInput(f"protocol {path}: extends: {plain(extended)} extends this one.")
    return _extended(_read(other, (*above, path)), fields)


def _extended(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `own` fields in their place: tables entry by entry, overrides behind those of
    `base`."""
    found = merged(base, own)
    if isinstance(base.get("override"), list) and isinstance(own.get("override"), list):
        found["override"] = [*base["override"], *own["override"]]
    if isinstance(base.get("segmentation"), dict) and isinstance(own.get("segmentation"), dict):
        found["segmentation"] = _extended(base["segmentation"], own["segmentation"])
    return found


def _reachable(override: Override, space: Mapping[str, BaseDistribution]) -> bool:
    def may_be_met(name: str) -> bool:
        of, asked = space.get(name), Override(when={name: override.when[name]})
        if isinstance(of, CategoricalDistribution):
            return any(asked.met({name: value}) for value in of.choices)
        return isinstance(of, FloatDistribution | IntDistribution)

    return all(may_be_met(name) for name in override.when)
