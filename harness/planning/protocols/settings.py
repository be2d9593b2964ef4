"""What a protocol says: its fields for each kind of task, and what of them holds for a cell or at a
point of a search."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from harness.errors import BadInput, nearest
from harness.io.toml import first_error
from harness.planning.protocols.entries import Entry
from harness.planning.protocols.overrides import AT_A_POINT, FOR_ALL, Override, merged
from harness.tasks.kinds import KINDS
from harness.training.annotations import check_arguments

if TYPE_CHECKING:
    from harness.planning.variant import Variant
    from harness.training.recipe import Recipe

Optimizer = Literal["sgd", "adamw"]
NoDecay = Literal["head", "biases", "vectors"]
"""What is exempt from weight decay: the head's bias (in segmentation its biases and norms); also
all biases; or also all 1-d tensors."""
HeadInit = Literal["kaiming_normal", "xavier_uniform", "torch"]
"""Initialization of the linear head's weights: N(0, 2 / classes), which is kaiming normal with the
fan-out, as in VPT's code; xavier uniform; or torch's own, of the bias too."""
TrainOn = Literal["train+val", "train"]
Precision = Literal["fp32", "bf16"]
"""float32 throughout, or bf16 autocast; the head is in float32 in either."""
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
SEARCHED = ("base_lr", "weight_decay")
"""What every protocol's space has."""


class BaseProtocol(BaseModel):
    """What protocols for both kinds of task define: how a point is chosen and optimised, and the
    exceptions for some cells."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = ""
    title: str = ""
    seeds: tuple[int, ...] = ()
    """Of final runs. Not part of the identity: a result's key includes its own seed."""
    sampler: Literal["tpe", "random", "grid"]
    trials: int | None = Field(default=None, gt=0)
    """Points of a search; None: the whole grid."""
    pruner: Literal["none", "median"] = "none"
    score_every: int | None = Field(default=None, gt=0)
    """Epochs (or iterations) between scores on val while tuning, for the pruner; None: only after
    the last one."""
    prune_from: int = Field(default=0, ge=0)
    """The first of them whose score may prune a trial: while the learning rate is high, good points
    look bad."""
    optimizer: Optimizer
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """SGD's."""
    eps: float = Field(default=1e-8, gt=0)
    """AdamW's."""
    no_decay: NoDecay = "head"
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Stochastic depth of the backbone while a method trains: rises from 0 in the first block to
    this in the last. A method with constant features trains without."""
    batch_size: int = Field(gt=0)
    train_on: TrainOn | None = None
    """What a final run trains on; None: what the task's card says."""
    space: dict[Literal["base_lr", "weight_decay"], Entry] = {}
    method_space: dict[str, Entry] = {}
    """By argument: narrows the methods' search spaces to values that they allow. A method that
    allows none of them keeps its own."""
    normalize: Literal["imagenet", "backbone", "none", "inception"] = "imagenet"
    """The mean and std with which pixels are normalised; `--normalize` overrides it. Not part of
    `identity`: the task's has the numbers."""
    precision: Precision | None = None
    """The arithmetic of training and scoring; `--precision` overrides it. None: bf16 where jobs get
    a GPU that has it, else float32. A plan says which; fp32 isn't written into an identity, so no
    key of a CPU's rows has moved."""
    method_arguments: dict[str, bool | int | float | str] = {}
    """Fixes arguments of the methods, which must have them, and removes them from the search; a
    variant overrides it."""
    method_defaults: dict[str, bool | int | float | str] = {}
    """As `method_arguments`, for the methods that have such an argument and whose `check` allows
    the value: others go without."""
    one_recipe: bool = False
    """Whether the optimiser and the rates here hold for all methods: what their classes say of
    these is left aside, and only an override with a method's name sets it apart."""
    override: tuple[Override, ...] = ()
    """What holds only for some cells or points."""
    fixed: dict[str, bool | int | float | str] = {}
    """Of a cell: the point that is run in place of a search."""
    start: tuple[dict[str, bool | int | float | str], ...] = ()
    """Of a cell: the points that its search tries first."""
    added: ClassVar[frozenset[str]] = frozenset(
        ("drop_path", "method_defaults", "one_recipe", "fixed", "start")
    )
    """Fields that older results were stored without. They are a part of an identity only where they
    aren't at their defaults, so no older key has moved."""
    _stored: dict[str, Any] | None = PrivateAttr(default=None)
    """The stored identity that it was read from."""

    @property
    def last(self) -> int:
        """The epoch (or iteration) that training ends with, counted from 1."""
        raise NotImplementedError

    @property
    def arguments(self) -> frozenset[str]:
        """Its arguments that a search or a variant may choose."""
        return frozenset((*SEARCHED, "head_weight_decay"))

    @property
    def largest_batch(self) -> int:
        """The largest of any point."""
        return max(
            self.batch_size,
            *(override.fields.get("batch_size", 0) for override in self.override),
            0,
        )

    def fields_of(self, recipe: "type[Recipe]") -> dict[str, Any]:
        """What a recipe has from its protocol: the fields of the same names."""
        return {name: getattr(self, name) for name in recipe.names() if hasattr(self, name)}

    def score_at(self) -> tuple[int, ...]:
        """The epochs (or iterations), counted from 1, after which a tuning trial is scored on
        val."""
        return (
            (*range(self.score_every, self.last, self.score_every), self.last)
            if self.score_every
            else (self.last,)
        )

    def identity(self) -> dict[str, Any]:
        """The part that enters a result's key: for a cell's protocol, everything that the cell's
        numbers depend on."""
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
        for name in self.added:
            if getattr(self, name) == type(self).model_fields[name].get_default(
                call_default_factory=True
            ):
                del fields[name]
        if self.precision != "bf16":
            del fields["precision"]
        return {**fields, "override": [override.as_written() for override in self.override]}

    def for_cell(self, variant: "Variant", suite: str, backbone: str, train_on: TrainOn) -> Self:
        """The part that holds for a method variant on a task of `suite`, whose card says
        `train_on`, with a backbone.

        In increasing precedence: the file; overrides with a pattern for the method; the method's
        class, unless the file has `one_recipe`; overrides with its name; and at a point of the
        search, overrides whose conditions it meets. Raises `BadInput`.
        """
        from harness.planning.declaration import defaults, own_arguments

        fields = self._fields()
        # already for a cell; or from before there were overrides, when the class had precedence
        if self._stored is not None:
            return (
                self if "override" in self._stored else self._with(self._of_class(variant, fields))
            )
        known, searched = own_arguments(variant.method), variant.method.search_space
        fitting = [
            override for override in self.override if override.fits(variant.name, suite, backbone)
        ]
        by_name = [override for override in fitting if variant.name in override.method]
        for override in fitting:
            if not override.when and override not in by_name:
                fields = merged(fields, override.fields)
        if not self.one_recipe:
            fields = self._of_class(variant, fields)
        for override in by_name:
            if not override.when:
                fields = merged(fields, override.fields)
        where_known = {
            name: value
            for name, value in fields["method_defaults"].items()
            if name in known and _allows(variant, {name: value})
        }
        fields |= {
            "method_arguments": {**where_known, **fields["method_arguments"]},
            "method_defaults": {},
            "one_recipe": False,
        }
        if variant.method.constant_features:
            fields["drop_path"] = 0.0
        for name in (
            *fields["method_arguments"],
            *(name for override in by_name for name in override.when if name not in self.arguments),
        ):
            if name not in known:
                raise BadInput(
                    f"protocol {self.name}: {variant.name} has no argument"
                    f" '{name}'.{nearest(name, known)}"
                )
        for table in ("space", "method_space", "method_arguments"):
            fields[table] = {
                name: entry
                for name, entry in fields[table].items()
                if name not in variant.arguments
            }
        fields["method_space"] = {
            name: entry
            for name, entry in fields["method_space"].items()
            if name in searched and name not in fields["method_arguments"]
        }
        fields["train_on"] = fields["train_on"] or train_on
        own = {
            name: value
            for name, value in defaults(variant.method).items()
            if name not in {*searched, *fields["space"]}
        }
        fixed = {**own, **fields["method_arguments"], **variant.arguments}
        points = []
        for override in fitting:
            left = override.left(fixed) if override.when else None
            if left is not None and not left.when:
                fields = merged(fields, left.fields)
            elif left is not None:
                points.append(left)
        return self._with({**fields, "override": tuple(points)})

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
        """A cell's protocol at a point of its search."""
        fields: dict[str, Any] = {}
        for override in self.override:
            if override.when and override.met(chosen):
                fields |= override.fields
        return self.model_copy(update=fields)

    def without_search(self, point: Mapping[str, Any], defaults: Mapping[str, Any]) -> Self:
        """A cell's protocol that runs this point and searches nothing: what it would say about a
        search, or at other points, is no part of it. `defaults`: of what isn't in the point."""
        nothing = {
            "sampler": "grid",
            "trials": None,
            "pruner": "none",
            "score_every": None,
            "prune_from": 0,
            "space": {},
            "method_space": {},
            "override": (),
        }
        return self.at({**defaults, **point}).model_copy(update={**nothing, "fixed": dict(point)})

    def _fields(self) -> dict[str, Any]:
        return {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name not in ("override", "segmentation")
        }

    def _with(self, fields: Mapping[str, Any]) -> Self:
        protocol = type(self)(**fields)
        protocol._stored = self._stored
        return protocol

    def _of_class(self, variant: "Variant", fields: Mapping[str, Any]) -> dict[str, Any]:
        """With the optimiser and search space of a method's class in place of the protocol's."""
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
        """A wrong key or value is an error in the file, whether or not a cell meets the
        conditions."""
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


class Segmentation(BaseProtocol):
    """A protocol's table [segmentation]: how it tunes and trains when every pixel has a class.
    `identity` enters a result's key.

    Name, title and seeds are the protocol's, unless the table has its own.
    """

    base_lr: float = Field(gt=0)
    """At batch size 256, as in classification: the one used is base_lr * batch_size / 256. `space`
    may replace it."""
    weight_decay: float = Field(default=0.0, ge=0)
    head_factor: float = Field(default=10.0, gt=0)
    """The head's learning rate, as a multiple of the method's."""
    power: float = Field(default=0.9, gt=0)
    lowest_lr: float = Field(default=0.0, ge=0)
    """The end of the polynomial schedule; not scaled."""
    iterations: int = Field(gt=0)
    multi_scale: bool = False
    """Whether final runs are also scored at several scales. Changes no score, so it isn't part of
    the identity."""

    @property
    def last(self) -> int:
        return self.iterations

    @property
    def head_init(self) -> HeadInit:
        """For a linear head; segmentation's has its own."""
        return "kaiming_normal"


class Protocol(BaseProtocol):
    """A protocol's file."""

    epochs: int = Field(gt=0)
    warmup_epochs: int = Field(ge=0)
    warmup_from_zero: bool = False
    """Whether the first epoch has learning rate 0, as in VPT's released code, and trains nothing;
    else 1 / `warmup_epochs` of the peak."""
    first_lr: float | None = Field(default=None, gt=0)
    """What the warm-up starts from instead; not scaled with the batch."""
    lowest_lr: float = Field(default=0.0, ge=0)
    """What the cosine ends at; not scaled with the batch."""
    cosine_over: Literal["rest", "all"] = "rest"
    """What the cosine is over: the epochs behind the warm-up; or all of them, as timm's is, which
    has come down a little where the warm-up ends."""
    head_init: HeadInit = "xavier_uniform"
    """The default from before protocols had this field, so that older files keep their meaning."""
    segmentation: Segmentation | None = None
    added: ClassVar[frozenset[str]] = BaseProtocol.added | {"first_lr", "lowest_lr", "cosine_over"}

    @model_validator(mode="after")
    def _one_first_rate(self) -> Self:
        if self.warmup_from_zero and self.first_lr is not None:
            raise ValueError("first_lr: warmup_from_zero starts from 0, leave one of them out")
        return self

    @property
    def last(self) -> int:
        return self.epochs

    @property
    def multi_scale(self) -> bool:
        """Only a table [segmentation] can request it."""
        return False

    def of(self, kind: str) -> "Settings":
        """The protocol for one kind of task. Raises `BadInput` if it has none."""
        table = KINDS[kind].table
        if not table:
            return self
        settings: Segmentation | None = getattr(self, table)
        if settings is None:
            raise BadInput(
                f"protocol {self.name} has no table [{table}]: add one, or give another --protocol."
            )
        normalize = (
            settings.normalize if "normalize" in settings.model_fields_set else self.normalize
        )
        shared = {
            "name": self.name,
            "title": settings.title or self.title,
            "seeds": settings.seeds or self.seeds,
            "normalize": normalize,
            "precision": settings.precision or self.precision,
        }
        return settings.model_copy(update=shared)


Settings = Protocol | Segmentation
"""A protocol for one kind of task."""


def stored(kind: str, name: str, seed: int, identity: dict[str, Any]) -> Settings:
    """A protocol from a result's key; what is missing gets the field's default."""
    protocol = (Segmentation if KINDS[kind].table else Protocol)(
        name=name, title="", seeds=(seed,), **identity
    )
    protocol._stored = identity
    return protocol


def _allows(variant: "Variant", more: Mapping[str, Any]) -> bool:
    """Whether a method's own check lets these arguments stand beside a variant's."""
    try:
        check_arguments(variant.method, {**variant.arguments, **more})
    except ValueError:
        return False
    return True


def _reachable(override: Override, space: Mapping[str, BaseDistribution]) -> bool:
    def may_be_met(name: str) -> bool:
        distribution, condition = space.get(name), Override(when={name: override.when[name]})
        if isinstance(distribution, CategoricalDistribution):
            return any(condition.met({name: value}) for value in distribution.choices)
        return isinstance(distribution, FloatDistribution | IntDistribution)

    return all(may_be_met(name) for name in override.when)
