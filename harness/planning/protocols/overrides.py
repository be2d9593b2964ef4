"""What of a protocol holds for some cells, or for some points of a search, alone."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Patterns = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]
"""Names, or patterns with `*` and `?`; one may stand alone."""

AT_A_POINT = frozenset(
    ("optimizer", "momentum", "eps", "no_decay", "batch_size", "warmup_epochs", "warmup_from_zero")
)
"""Fields that may depend on what a search chooses, and that a method's class may replace."""

FOR_ALL = frozenset(
    (
        *("name", "title", "seeds", "segmentation", "override", "normalize", "multi_scale"),
        *("sampler", "trials", "pruner", "score_every", "prune_from"),
    )
)
"""Fields that no override has: how a point is chosen and what a backbone sees is the same for all
that are compared."""


class AtLeast(BaseModel):
    """A number from this one on."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    at_least: float


class Override(BaseModel):
    """A table [[override]]: its other keys are fields of the protocol, and replace them where all
    conditions are met; the last one wins.

    Of `space`, `method_space` and `method_arguments` it replaces the entries that it names. One
    that gives the method by its name, not by a pattern, also replaces what the method's class says
    of its optimiser and learning rates.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    method: Patterns = ("*",)
    suite: Patterns = ("*",)
    """A task's own."""
    backbone: Patterns = ("*",)
    """By name, with the weights' tag: `vit_base_patch16_224.mae`."""
    when: dict[str, bool | int | float | str | AtLeast] = Field(default_factory=dict)
    """Of a point of the search: values that it chooses. Such an override has fields of `AT_A_POINT`
    alone."""

    @property
    def fields(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def fits(self, method: str, suite: str, backbone: str) -> bool:
        asked = ((method, self.method), (suite, self.suite), (backbone, self.backbone))
        return all(
            any(fnmatchcase(name, pattern) for pattern in patterns) for name, patterns in asked
        )

    def met(self, chosen: Mapping[str, Any]) -> bool:
        """Whether these values meet `when`; not where one is missing."""
        return all(
            name in chosen and _meets(chosen[name], value) for name, value in self.when.items()
        )

    def left(self, known: Mapping[str, Any]) -> "Override | None":
        """What is left of it for a cell where these values are fixed: the conditions on others.
        None where it can't be met."""
        if not self.model_copy(
            update={"when": {name: value for name, value in self.when.items() if name in known}}
        ).met(known):
            return None
        return Override(
            when={name: value for name, value in self.when.items() if name not in known},
            **self.fields,
        )

    def said(self) -> dict[str, Any]:
        """As it stands in a file, for a key."""
        return self.model_dump(mode="json", exclude_defaults=True)


def _meets(value: Any, wanted: "bool | int | float | str | AtLeast") -> bool:
    if isinstance(wanted, AtLeast):
        return isinstance(value, int | float) and value >= wanted.at_least
    return value == wanted


def merged(fields: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` with those of `more` in their place; of a table, the entries that `more` names."""
    both = {
        name: {**value, **more[name]}
        for name, value in fields.items()
        if isinstance(value, dict) and isinstance(more.get(name), dict)
    }
    return {**fields, **more, **both}
