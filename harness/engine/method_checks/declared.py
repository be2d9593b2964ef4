"""What a class says of itself: its declaration, its trained values, what a plan expects of it."""

from collections.abc import Iterator
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from harness.engine.method_checks.report import Fault, Skipped
from harness.engine.method_checks.subject import BATCH, HELD_OUT, TRAIN, Subject
from harness.errors import BadInput
from harness.planning import declaration, protocols, user_errors
from harness.planning.variant import Variant
from harness.training.annotations import check_arguments
from harness.training.method import Method, trained_values


def contract(subject: Subject) -> str:
    """The class's declaration, and the constructor over the search space."""
    method, where = subject.method, subject.place("__init__")
    also = protocols.load("mini").arguments
    try:
        declaration.check(method, method.__name__, also)
    except BadInput as error:
        raise Fault(str(error).rstrip("."), where) from None
    if not hasattr(method, "name"):
        raise Fault('the class has no name: write name = "..."', where)
    for name, parameter in declaration.own_arguments(method).items():
        if parameter.default is parameter.empty and name not in subject.variant.arguments:
            raise Fault(f"argument {name} has no default", where)
    built: dict[str, Method] = {}
    for name, vit in subject.vits.items():
        try:
            built[name] = subject.build(vit)
        except ValueError as error:
            subject.refused[name] = str(error)
    if not built:
        raise Fault(next(iter(subject.refused.values())), where)
    stages = next(iter(built.values())).stages
    planned = method.effort(subject.arguments, TRAIN, BATCH).stages
    if stages != planned:
        raise Fault(
            f"it has {stages} stages and effort() says {planned}: a plan would count wrongly",
            subject.place("effort"),
        )
    subject.names = {name for own in built.values() for name, _ in own.named_parameters()}
    points = list(_points(method, subject.variant))
    refused = 0
    for name, value in points:
        try:
            check_arguments(method, {**subject.arguments, name: value})
            other = subject.build(subject.plain, **{name: value})
            subject.names |= {name for name, _ in other.named_parameters()}
        except ValueError:
            refused += 1
        except Exception as error:
            said = user_errors.line(error)
            raise Fault(f"{name}={value} can't be built: {said}", where) from error
    said = f"{method.name}, version {method.version}; built on {', '.join(built)}"
    for name, reason in subject.refused.items():
        said += f"; refuses {name}: {reason}"
    if points:
        said += f"; {len(points) - refused} of {len(points)} ends of the search space and toggles"
    return said


def _points(method: type[Method], variant: Variant) -> Iterator[tuple[str, Any]]:
    """Arguments one at a time: the ends of the search space, and every toggle switched."""
    known = declaration.own_arguments(method)
    for name, distribution in method.search_space.items():
        if name in known and name not in variant.arguments:
            yield from ((name, value) for value in _ends(distribution))
    for name in method.toggles:
        if name not in variant.arguments:
            yield name, not known[name].default


def _ends(distribution: BaseDistribution) -> tuple[Any, Any]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0], distribution.choices[-1]
    found: Any = distribution
    return found.low, found.high


def values(subject: Subject) -> str:
    """What is trained, by group."""
    vit = subject.backbone or subject.plain
    try:
        method = subject.build(vit)
    except ValueError as error:
        raise Skipped(str(error)) from None
    kept, only = trained_values(method)
    for attribute, names in (("train_only", method.train_only), ("factors()", method.factors())):
        for name in names:
            if name != "head" and not any(one.startswith(name) for one in subject.names):
                raise Fault(
                    f"{attribute} names '{name}', and no parameter's name begins so",
                    subject.place("__init__"),
                )
    if not kept + only:
        if method.constant_features:
            return "none but the head's: its features are constant"
        raise Fault(
            "it trains nothing: no parameter of it requires a gradient", subject.place("__init__")
        )
    groups: dict[str, int] = {}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            group = "backbone" if name.startswith("vit.") else name.partition(".")[0]
            groups[group] = groups.get(group, 0) + parameter.numel()
    whole = sum(parameter.numel() for parameter in vit.parameters())
    parts = ", ".join(f"{name} {values:,}" for name, values in groups.items())
    said = f"{kept:,}, {100 * kept / whole:.2f} % of the backbone's {whole:,}: {parts}"
    return said + (f"; {only:,} of them for training alone" if only else "")


def plan(subject: Subject) -> str:
    """What a run spends is what a plan says of it."""
    _, spent = subject.trained
    effort = subject.method.effort(subject.arguments, TRAIN, BATCH)
    expected = 2 * TRAIN * subject.recipe.epochs * effort.stages + effort.forwards + HELD_OUT
    if spent > expected:
        raise Fault(
            f"a run on {TRAIN} images passed {spent:.0f} forward-image units, and effort() lets a"
            f" plan say {expected:.0f}",
            subject.place("effort", "begin"),
        )
    return f"{spent:.0f} forward-image units, planned {expected:.0f}"
