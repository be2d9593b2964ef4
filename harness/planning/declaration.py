"""Checks the declarations in a method's class against the contract of
`harness.training.method.Method` before anything runs."""

import inspect
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from harness.backbones.carried import CAN
from harness.errors import BadInput, nearest

if TYPE_CHECKING:
    from harness.training.method import Method

_TEXTS = ("name", "version", "summary", "note", "family")
_NAME = re.compile(r"[^\s,()=:]+")


def own_arguments(method: "type[Method]") -> dict[str, inspect.Parameter]:
    """A method's hyper-parameters: its constructor's parameters except the ViT. Raises `BadInput`
    if it can't take the ViT."""
    parameters = list(inspect.signature(method).parameters.values())
    if not parameters or parameters[0].kind not in (
        parameters[0].POSITIONAL_ONLY,
        parameters[0].POSITIONAL_OR_KEYWORD,
    ):
        raise BadInput(
            f"{method.__name__}: its constructor takes no ViT. Write __init__(self, vit,"
            " argument=default, ...)."
        )
    return {
        parameter.name: parameter
        for parameter in parameters[1:]
        if parameter.kind is not parameter.VAR_KEYWORD
    }


def defaults(method: "type[Method]") -> dict[str, Any]:
    """Values of `own_arguments` where nobody gives another; those that have none are left out."""
    return {
        name: parameter.default
        for name, parameter in own_arguments(method).items()
        if parameter.default is not parameter.empty
    }


def check(method: "type[Method]", where: str, also: Collection[str] | None = None) -> None:
    """Raises a `BadInput` that begins with `where` for an invalid attribute.

    `also`: the protocol's arguments, which a search space may name too; None if the protocol isn't
    known yet.
    """
    for name in _TEXTS:
        value = inspect.getattr_static(method, name, "")
        if not isinstance(value, str):
            raise BadInput(
                f'{where}: {name} must be a string in the class ({name} = "..."), not'
                f" {_kind(value)}."
            )
    if (called := getattr(method, "name", None)) is not None and not _NAME.fullmatch(called):
        raise BadInput(
            f"{where}: name = {called!r}: a name is one word, without spaces, commas, brackets, '='"
            " and ':'."
        )
    if not callable(method.forward):
        raise BadInput(
            f"{where}: forward must be a method, forward(self, images, read), not"
            f" {_kind(method.forward)}."
        )
    try:
        inspect.signature(method.forward).bind(None, None, None)
    except TypeError as error:
        raise BadInput(
            f"{where}: forward must take (self, images, read), not"
            f" {inspect.signature(method.forward)}."
        ) from error
    known = own_arguments(method)
    takes_any = any(
        parameter.kind is parameter.VAR_KEYWORD
        for parameter in inspect.signature(method).parameters.values()
    )
    for name in ("search_space", "allows"):
        _check_space(
            method,
            name,
            where,
            None if takes_any or also is None else {*known, *also, "base_lr", "weight_decay"},
        )
    toggles = method.toggles
    if not isinstance(toggles, list | tuple) or not all(isinstance(name, str) for name in toggles):
        raise BadInput(
            f'{where}: toggles must be a tuple of names, such as toggles = ("scaled",), not'
            f" {_kind(toggles)}."
        )
    for name in toggles:
        if name not in known:
            raise BadInput(
                f"{where}: toggles names '{name}', which isn't an argument of the"
                f" constructor.{nearest(name, known)}"
            )
        if not isinstance(known[name].default, bool):
            raise BadInput(
                f"{where}: toggles names '{name}', whose default isn't True or False: write"
                f" {name}=True in the constructor."
            )
    if not isinstance(method.optimizer, Mapping):
        raise BadInput(
            f'{where}: optimizer must be a dict, such as {{"optimizer": "adamw"}}, not'
            f" {_kind(method.optimizer)}."
        )
    for name in ("constant_features", "whole_batch"):
        if not isinstance(value := getattr(method, name), bool):
            raise BadInput(f"{where}: {name} must be True or False, not {_kind(value)}.")
    if not isinstance(method.needs, tuple) or not set(method.needs) <= set(CAN):
        raise BadInput(
            f'{where}: needs must be a tuple of {", ".join(CAN)}, as needs = ("column",'
            f' "prompts"), not {method.needs!r}.'
        )
    if not isinstance(method.refuses, Mapping) or not all(
        isinstance(reason, str) for reason in method.refuses.values()
    ):
        raise BadInput(
            f'{where}: refuses must be a dict of reasons, as {{"segmentation": "..."}}, not'
            f" {_kind(method.refuses)}."
        )
    if not isinstance(method.packages, Mapping) or not all(
        isinstance(source, str) for source in method.packages.values()
    ):
        raise BadInput(
            f'{where}: packages must be a dict, as {{"peft": "vpt-harness[peft]"}} (what pip'
            f" installs each by), not {_kind(method.packages)}."
        )
    names = method.train_only
    if not isinstance(names, tuple) or not all(isinstance(name, str) and name for name in names):
        raise BadInput(
            f'{where}: train_only must be a tuple of names, as train_only = ("koopman",), not'
            f" {_kind(names)}."
        )
    if method.constant_features:
        _check_constant(method, where)


def _check_constant(method: "type[Method]", where: str) -> None:
    """A method whose features are computed once is asked for nothing else in a run."""
    from harness.training.method import Method

    for name in ("begin", "advance", "epoch", "penalty"):
        if getattr(method, name) is not getattr(Method, name):
            raise BadInput(
                f"{where}: its features are constant (constant_features), so {name}() would never"
                " be called: delete one of the two."
            )


def _check_space(
    method: "type[Method]", attribute: str, where: str, known: Collection[str] | None
) -> None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space = getattr(method, attribute)
    if not isinstance(space, Mapping):
        raise BadInput(
            f"{where}: {attribute} must be a dict of choices by argument, not {_kind(space)}:"
            f' write {attribute} = {{"argument": (5, 10)}}.'
        )
    for name, distribution in space.items():
        if not isinstance(
            distribution, CategoricalDistribution | FloatDistribution | IntDistribution
        ):
            remedy = (
                "write (5, 10), or IntDistribution(low, high) or FloatDistribution(low, high) of"
                " optuna.distributions"
            )
            held = "empty" if distribution in ((), []) else _kind(distribution)
            raise BadInput(
                f"{where}: {attribute}[{name!r}] must be choices or an Optuna distribution, not"
                f" {held}: {remedy}."
            )
        if not isinstance(name, str) or (known is not None and name not in known):
            raise BadInput(
                f"{where}: {attribute} names '{name}', which isn't an argument of the constructor"
                f" or of the protocol.{nearest(str(name), known or ())} The constructor's:"
                f" {', '.join(own_arguments(method)) or 'none'}."
            )
        if isinstance(distribution, CategoricalDistribution):
            odd = [
                value
                for value in distribution.choices
                if not isinstance(value, bool | int | float | str)
            ]
            if odd:
                raise BadInput(
                    f"{where}: {attribute}[{name!r}] has {odd[0]!r}: choices must be numbers,"
                    " strings, True or False."
                )


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
