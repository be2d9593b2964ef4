"""What the annotations of a method's constructor say of its arguments' values."""

import inspect
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin


def check_arguments(method: type[Any], arguments: Mapping[str, Any]) -> None:
    """Of a `Method`. Raises `ValueError` for an argument that isn't among the values that its
    annotation names, then for whatever the class's own `check` refuses, which needn't look at
    annotations."""
    check_choices(method, arguments)
    method.check(arguments)


def check_choices(method: type[Any], arguments: Mapping[str, Any]) -> None:
    """Raises `ValueError` for an argument that isn't among the values that its annotation
    names."""
    if (wrong := wrong_choice(method, arguments)) is not None:
        raise ValueError(f"{method.name}'s {wrong}")


def choices(annotation: Any) -> list[Any]:
    """The values that an annotation names, as `Literal["qv", "qkv"]` and `bool | Literal["gate"]`
    do; none where it names none."""
    parts = _parts(annotation)
    named = [value for part in parts if get_origin(part) is Literal for value in get_args(part)]
    return [True, False, *named] if named and bool in parts else named


def wrong_choice(method: type, arguments: Mapping[str, Any]) -> str | None:
    """What is wrong with the first of `arguments` that isn't among the values that its annotation
    names; None where there is none, or where an annotation can't be evaluated or has another type
    beside its values."""
    try:
        known = inspect.signature(method, eval_str=True).parameters
    except (NameError, TypeError, ValueError):
        return None
    for name, value in arguments.items():
        annotation = known[name].annotation if name in known else None
        named = choices(annotation)
        closed = {get_origin(part) for part in _parts(annotation) if part is not bool} == {Literal}
        if closed and not any(type(value) is type(one) and value == one for one in named):
            return f"{name} is one of {', '.join(map(_written, named))}, not {_written(value)}"
    return None


def _parts(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _written(value: Any) -> str:
    """As one types it in a method's brackets."""
    return str(value).lower() if isinstance(value, bool) else str(value)
