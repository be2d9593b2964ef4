"""How numbers were made, in the same terms for ours and for papers': what sets a measured row apart
from a published one.

Ours are read from what a row is keyed by and stored with; papers' from `results/recipes.toml`, each
with the place where it was read. What isn't known about either is reported as unknown, and never
taken as equal.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError

from harness.io.resources import recipes_toml
from harness.io.toml import read_toml, validated
from harness.reporting.leaderboard import TaskResult
from harness.tasks.cards import load_cards
from harness.text import plain


def _sorted(value: Any) -> Any:
    return tuple(sorted(map(float, value))) if isinstance(value, list | tuple) else value


Value = Annotated[int | float | str | tuple[float, ...], BeforeValidator(_sorted)]
"""A number; words; or the values of a grid, in order."""


class Setup(BaseModel):
    """How a number was made. None: not known."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    pixels: Value | None = Field(None, title="pixels")
    normalize: Value | None = Field(None, title="pixel statistics")
    side: Value | None = Field(None, title="image side")
    pooling: Value | None = Field(None, title="features")
    form: Value | None = Field(None, title="method")
    """Papers only: where their method of that name differs from ours."""
    dropout: Value | None = Field(None, title="dropout")
    """On what the method adds, such as prompts."""
    backbone_dropout: Value | None = Field(None, title="the backbone's dropout")
    drop_path: Value | None = Field(None, title="drop-path")
    optimizer: Value | None = Field(None, title="optimiser")
    batch: Value | None = Field(None, title="batch size")
    base_lr: Value | None = Field(None, title="learning rates at batch 256")
    weight_decay: Value | None = Field(None, title="weight decays")
    no_decay: Value | None = Field(None, title="spared from weight decay")
    prompts: Value | None = Field(None, title="prompt lengths")
    search: Value | None = Field(None, title="search")
    search_seed: Value | None = Field(None, title="seed of the search")
    selection: Value | None = Field(None, title="selection")
    epochs: Value | None = Field(None, title="epochs")
    warmup_epochs: Value | None = Field(None, title="warm-up epochs")
    first_lr: Value | None = Field(None, title="first epoch's learning rate")
    lowest_lr: Value | None = Field(None, title="lowest learning rate")
    head_init: Value | None = Field(None, title="head's initial weights")
    train_on: Value | None = Field(None, title="final runs train on")
    reported: Value | None = Field(None, title="reported")
    test: Value | None = Field(None, title="test set")
    seeds: Value | None = Field(None, title="seeds")
    precision: Value | None = Field(None, title="arithmetic")


UNKNOWN = ": not known for its source"
"""How the phrase ends that lists such facts."""

TITLES = {name: str(field.title) for name, field in Setup.model_fields.items()}
"""What a fact is called where it is shown."""

Patterns = tuple[str, ...]


@cache
def _suites() -> Mapping[str, str]:
    """The suite of each task that ships with the harness."""
    return {name: card.suite for name, card in load_cards().items()}


class PartialSetup(BaseModel):
    """Facts that hold for some of a source's numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    methods: Patterns = ("*",)
    suites: Patterns = ("*",)
    tasks: Patterns = ("*",)
    backbones: Patterns = ("*",)
    pretrains: Patterns = ("*",)
    facts: Setup

    def fits(self, method: str, task: str, backbone: str, pretrain: str) -> bool:
        filters = (
            (method, self.methods),
            (_suites()[task], self.suites),
            (task, self.tasks),
            (backbone, self.backbones),
            (pretrain, self.pretrains),
        )
        return all(
            any(fnmatchcase(name, pattern) for pattern in patterns) for name, patterns in filters
        )


class SourceSetup(BaseModel):
    """How the numbers of some sources were made."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    sources: Patterns = Field(min_length=1)
    """Beginnings of the `source`s that it covers."""
    read: str = Field(min_length=20)
    """Where it was read."""
    facts: Setup
    of: tuple[PartialSetup, ...] = ()
    _merged: dict[tuple[Setup, ...], Setup] = PrivateAttr(default_factory=dict)

    def at(self, method: str, task: str, backbone: str, pretrain: str) -> Setup:
        """The facts of one number: the last matching `of` wins."""
        fitting = tuple(of.facts for of in self.of if of.fits(method, task, backbone, pretrain))
        if fitting not in self._merged:
            parts = (self.facts, *fitting)
            self._merged[fitting] = Setup(
                **{name: value for facts in parts for name, value in facts if value is not None}
            )
        return self._merged[fitting]


class _File(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    recipe: tuple[SourceSetup, ...]


@cache
def source_setups(toml: Path | None = None) -> tuple[SourceSetup, ...]:
    """Those of a file, by default the shipped one. Raises `BadInput`."""
    toml = toml or recipes_toml()
    return validated(_File, read_toml("recipes", toml), f"recipes {toml}").recipe


def setup_of_source(source: str) -> SourceSetup | None:
    """The recipe that a source's numbers were made by; None where none is known."""
    return next((recipe for recipe in source_setups() if source.startswith(recipe.sources)), None)


def measured_setup(result: TaskResult, seeds: int) -> Setup:
    """The setup of a leaderboard's classification result, whose section has `seeds` seeds. What its
    cell was stored without is None."""
    cell = result.cell
    return _setup(
        seeds,
        cell.method,
        cell.of_cell,
        cell.arguments,
        cell.searched,
        cell.pixels,
        cell.normalize,
        cell.side,
        cell.pooling,
        result.precision,
    )


@lru_cache(4096)
def _setup(
    seeds: int,
    method: str,
    of_cell: str,
    arguments_: str,
    searched_: str,
    pixels: str,
    normalize: str,
    side: str,
    pooling: str,
    precision: str,
) -> Setup:
    """From texts, so that the cache reads what published rows are compared with only once."""
    settings, arguments, searched = map(_table, (of_cell, arguments_, searched_))
    resolved = "override" in settings  # for one cell, with what its method overrides
    facts = {
        "pixels": pixels,
        "normalize": normalize,
        "side": int(side) if side.isdecimal() else None,
        "pooling": pooling,
        "dropout": _argument(
            "dropout", arguments, searched, 0 if method in _WITHOUT_DROPOUT else None
        ),
        "backbone_dropout": 0,
        "drop_path": settings.get("drop_path", 0),
        "optimizer": _at_points(settings, _optimizer) if resolved else None,
        "batch": (
            _at_points(settings, lambda of: _text(of["batch_size"]))
            if "batch_size" in settings
            else None
        ),
        "base_lr": _argument("base_lr", arguments, searched, None),
        "weight_decay": _argument("weight_decay", arguments, searched, None),
        "no_decay": _NO_DECAY.get(_text(settings.get("no_decay"))),
        "prompts": _argument("prompts", arguments, searched, "none"),
        "search": _search(settings),
        "search_seed": "no search" if settings.get("fixed") else "0",
        "selection": "nothing is chosen" if settings.get("fixed") else "last epoch on val",
        "epochs": settings.get("epochs"),
        "warmup_epochs": settings.get("warmup_epochs") if resolved else None,
        "first_lr": (
            _text(settings["first_lr"])
            if settings.get("first_lr")
            else {"True": "0", "False": "one step of the warm-up"}.get(
                _text(settings.get("warmup_from_zero"))
            )
        ),
        "lowest_lr": settings.get("lowest_lr", 0),
        "head_init": {"torch": "torch's default"}.get(
            _text(settings.get("head_init")), settings.get("head_init")
        ),
        "train_on": settings.get("train_on"),
        "reported": "last epoch",
        "test": "read once",
        "seeds": seeds,
        "precision": precision or None,
    }
    try:
        return Setup.model_validate(facts)
    except ValidationError as error:  # somebody else's store may hold anything
        odd = {str(of["loc"][0]) for of in error.errors()}
        return Setup.model_validate(
            {name: value for name, value in facts.items() if name not in odd}
        )


def setup_differences(
    ours: Mapping[str, Collection[Setup]], theirs: Mapping[str, Setup], same_method: bool = True
) -> list[str]:
    """A phrase for each fact that differs, and one for those that aren't known about the source.

    `ours`: by task, those of each row that is compared; `theirs`: by task, those of a number, or
    of a mean that includes the task. Without `same_method`, ours belong to other methods, and
    their values of facts on which they disagree aren't listed.
    """
    phrases, unknown = [], []
    tasks = [task for task in theirs if task in ours]
    for name, title in TITLES.items():
        pairs: dict[tuple[tuple[Value | None, ...], Value], list[str]] = {}
        varies = (
            not same_method
            and len({getattr(facts, name) for task in tasks for facts in ours[task]}) > 1
        )
        for task in tasks:
            there = getattr(theirs[task], name)
            differing: list[Any] = sorted(
                {value for facts in ours[task] if (value := getattr(facts, name)) != there}, key=str
            )
            if there is None and differing and title not in unknown:
                unknown.append(title)
            elif there is not None and differing:
                pairs.setdefault(
                    (() if varies or name == "form" else tuple(differing), there), []
                ).append(task)
        for (here, there), some in pairs.items():
            if name == "form":
                phrases.append(f"{title} there: {_shown(there)}{_on(some, tasks)}")
                continue
            pair = _pair(here, there) if here else f"{_shown(there)} there, by the method here"
            phrases.append(f"{title}: {pair}{_on(some, tasks)}")
    return [*phrases, f"{', '.join(unknown)}{UNKNOWN}"] if unknown else phrases


def _pair(here: Sequence[Value | None], there: Value) -> str:
    *ours, theirs = (_shown(value) for value in (*here, there))
    if theirs in ours:  # grids of equally many values between the same ends
        *ours, theirs = (_shown(value, in_full=True) for value in (*here, there))
    return (
        f"{' or '.join(ours)} here, {theirs} there"
        if ours != ["not recorded"]
        else f"{theirs} there, not recorded here"
    )


def _shown(value: Value | None, in_full: bool = False) -> str:
    if value is None:
        return "not recorded"
    if not isinstance(value, tuple):
        return f"{value:g}" if isinstance(value, float) else plain(str(value))
    if len(value) > 6 and not in_full:
        return f"{len(value)} values from {value[0]:g} to {value[-1]:g}"
    return "/".join(f"{one:g}" for one in value)


def _on(some: Sequence[str], tasks: Sequence[str]) -> str:
    if len(some) == len(tasks):
        return ""
    return f", on {', '.join(map(plain, some)) if len(some) <= 3 else f'{len(some)} tasks'}"


_WITHOUT_DROPOUT = frozenset(
    {
        "linear",
        "self-prompt",
        "vipamin",
        "da-vpt",
        "pixel-prompt",
        "lor-vp",
        "prefix",
        "bpt",
        "bpt-whitened",
        "full",
        "bitfit",
        "ln-tuning",
        "difffit",
        "attn-tuning",
        "mlp-tuning",
        "partial-k",
        "dtl",
        "sct",
        "res-tuning",
        "adapter-parallel",
        "adapter-plus",
        "conv-adapter",
        "ssf",
        "oft",
        "boft",
        "ia3",
        "fourierft",
        "hra",
        "lokr",
    }
)
"""Built-in methods that have no dropout, and no such argument; of others nothing is known."""

_NO_DECAY = {"head": "the head's bias", "biases": "all biases", "vectors": "all 1-d tensors"}


def _optimizer(settings: Mapping[str, Any]) -> str:
    name = _text(settings.get("optimizer"))
    adamw = f"eps {_text(settings.get('eps'))}, decay before the step"  # torch's
    return (
        f"{name} (momentum {_text(settings.get('momentum'))})"
        if name == "sgd"
        else f"{name} ({adamw})"
    )


def _at_points(settings: Mapping[str, Any], of: Callable[[Mapping[str, Any]], str]) -> str:
    """What a cell's protocol says, and what it says for certain values of a search, if that
    differs."""
    phrases = [of(settings)]
    overrides = settings.get("override")
    for override in map(_only_table, overrides if isinstance(overrides, list) else ()):
        value = of(
            {**settings, **{name: value for name, value in override.items() if name != "when"}}
        )
        when = " and ".join(
            f"{name} is {_condition(value)}"
            for name, value in _only_table(override.get("when")).items()
        )
        if value != phrases[0] and when:
            phrases.append(f"{value} where {when}")
    return "; ".join(phrases)


def _condition(value: Any) -> str:
    return f"at least {_text(value.get('at_least'))}" if isinstance(value, dict) else _text(value)


def _argument(
    name: str, arguments: Mapping[str, Any], searched: Mapping[str, Any], without: Value | None
) -> Any:
    """An argument's value, or what it is searched over; `without` for a method without such an
    argument; None if no arguments were recorded."""
    if name in searched:
        return searched[name]
    if name in arguments:
        return arguments[name] if name == "dropout" else [arguments[name]]
    return without if arguments or searched else None


def _search(settings: Mapping[str, Any]) -> str | None:
    if "sampler" not in settings:
        return None
    if settings.get("fixed"):
        return "nothing is searched"
    trials = settings.get("trials")
    if settings["sampler"] == "grid" and trials is None:
        return "whole grid"
    start = settings.get("prune_from") or settings.get("score_every")
    ended = (
        f", poor ones pruned from epoch {_text(start)} on"
        if settings.get("pruner", "none") != "none"
        else ""
    )
    return f"{_text(trials)} points by {_text(settings['sampler'])}{ended}"


def _table(text: str) -> Mapping[str, Any]:
    return _only_table(json.loads(text))


def _only_table(value: Any) -> Mapping[str, Any]:
    """A table as it is, and anything else as an empty one."""
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
