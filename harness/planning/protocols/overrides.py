"""What holds only for some cells of a protocol, or some points of a search."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Patterns = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]
"""Names, or patterns with `*` and `?`; a single one needs no list."""

AT_A_POINT = frozenset(
    (
        *("optimizer", "momentum", "eps", "no_decay", "batch_size", "warmup_epochs"),
        *("warmup_from_zero", "first_lr", "lowest_lr", "drop_path"),
    )
)
"""Fields that may depend on what a search chooses, and that a method's class may replace."""

FOR_ALL = frozenset(
    (
        *("name", "title", "seeds", "segmentation", "override", "normalize", "multi_scale"),
        *("sampler", "trials", "pruner", "score_every", "prune_from", "one_recipe"),
        *("fixed", "start", "precision"),
    )
)
"""Fields that no override may have: how a point is chosen and what a backbone sees must be the same
for all that are compared."""


class AtLeast(BaseModel):
    """This number or a larger one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    at_least: float


class Override(BaseModel):
    """A table [[override]]: its other keys are fields of the protocol, and replace them if all
    conditions are met; the last one wins.

    In `space`, `method_space` and `method_arguments` it replaces the entries that it names. One
    with the method's name, not a pattern, also takes precedence over the optimiser and learning
    rates of the method's class.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    method: Patterns = ("*",)
    suite: Patterns = ("*",)
    """The task's suite."""
    backbone: Patterns = ("*",)
    """By name, with the weights' tag: `vit_base_patch16_224.mae`."""
    when: dict[str, bool | int | float | str | AtLeast] = Field(default_factory=dict)
    """Conditions on the values of a point of the search. Such an override may only have fields of
    `AT_A_POINT`."""

    @property
    def fields(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def fits(self, method: str, suite: str, backbone: str) -> bool:
        filters = ((method, self.method), (suite, self.suite), (backbone, self.backbone))
        return all(
            any(fnmatchcase(name, pattern) for pattern in patterns) for name, patterns in filters
        )

    def met(self, chosen: Mapping[str, Any]) -> bool:
        """Whether these values meet `when`; False if one is missing."""
        return all(
            name in chosen and _meets(chosen[name], value) for name, value in self.when.items()
        )

    def left(self, known: Mapping[str, Any]) -> "Override | None":
        """What remains for a cell in which these values are fixed: the conditions on others. None
        if it can't be met."""
        if not self.model_copy(
            update={"when": {name: value for name, value in self.when.items() if name in known}}
        ).met(known):
            return None
        return Override(
            when={name: value for name, value in self.when.items() if name not in known},
            **self.fields,
        )

    def as_written(self) -> dict[str, Any]:
        """As written in a file, for a key."""
        return self.model_dump(mode="json", exclude_defaults=True)


def _meets(value: Any, wanted: "bool | int | float | str | AtLeast") -> bool:
    if isinstance(wanted, AtLeast):
        return isinstance(value, int | float) and value >= wanted.at_least
    return value == wanted


def merged(fields: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` updated with `more`; in a table, only the entries that `more` names."""
    both = {
        name: {**value, **more[name]}
        for name, value in fields.items()
        if isinstance(value, dict) and isinstance(more.get(name), dict)
    }
    return {**fields, **more, **both}
