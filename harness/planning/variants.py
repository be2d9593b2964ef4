"""Lists of methods as text, such as `linear,ivpt(da=false),./mine.py:Mine`: the variants that they
name."""

import copy
import re
import shlex
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from harness.errors import BadInput
from harness.io import commands, flags
from harness.planning import declaration
from harness.planning.lookup import check_packages, find
from harness.planning.registry import (
    EVERYTHING,
    families,
    kinds_of,
    names_family,
    of_registered,
    registered,
    wanting,
)
from harness.planning.source import check_apart
from harness.planning.variant import Variant, read_arguments
from harness.text import plain

if TYPE_CHECKING:
    from harness.backbones.frozen import FrozenBackbone
    from harness.training.method import Method


def parse(text: str, also: Collection[str] = ()) -> list[Variant]:
    """Variants from a comma-separated list such as `linear,ivpt(da=false),./mine.py:MyPrompt`.
    Raises `BadInput`.

    `also`: arguments of the protocol (`base_lr`) that may be fixed in a variant too.
    """
    variants: dict[str, Variant] = {}
    named: dict[str, Variant] = {}
    for part, by_name in _without_groups(_split(text)):
        match = re.fullmatch(r"\s*([^()]+?)\s*(?:\((.*)\))?\s*", part, re.DOTALL)
        if not match:
            raise BadInput(
                f"can't read the method '{part.strip()}': write name or name(argument=value,...)."
            )
        origin, inside = match.groups()
        name, method, code = find(origin)
        declaration.check(method, origin, also or None)
        check_packages(name, method)
        arguments = kinds_of(method) | read_arguments(name, method, inside or "", also)
        variant = Variant(method, name, arguments, origin, code, by_name)
        first = named.setdefault(name, variant)
        if first.method is not method:
            raise BadInput(
                f"{first.origin} and {origin} are both named '{name}', but results are stored by"
                " name: rename one of them."
            )
        for other in variants.values():
            if code is not None and other.code is not None:
                check_apart(other.code, code)
        if by_name or variant.label not in variants:
            variants[variant.label] = variant
    return list(variants.values())


def one(method: "str | type[Method]", also: Collection[str] = ()) -> Variant:
    """As `parse`, of a text that names one method; or a class as it is. Raises `BadInput`."""
    if isinstance(method, str):
        found = parse(_single(method), also)
        if len(found) != 1:
            raise BadInput(f"'{method}': one method at a time.")
        return found[0]
    declaration.check(method, method.__name__, also)
    return Variant(method, getattr(method, "name", method.__name__), {}, method.__name__)


def recorded(text: object, given: str | None) -> Variant:
    """The one variant that a row or checkpoint names with `text`, or that the user gave instead.
    Raises `BadInput`.

    The text comes from whoever made that row or checkpoint: a .py file is only executed if the
    user names it.
    """
    if given is None and ".py:" in str(text):
        named = plain(str(text))[:200]
        flag = f"--method {shlex.quote(commands.method(named))}"
        raise BadInput(
            f"its method is from a file, {named}, whose code would run here: read that file, then"
            f" add {flag}."
        )
    variants = parse(_single(given or str(text)))
    if len(variants) != 1:
        raise BadInput(f"'{plain(given or str(text))[:200]}' isn't one method.")
    return variants[0]


def left_out(text: str) -> list[str]:
    """Of a list of methods: a line on those that the groups it names leave out, for want of a
    package."""
    groups = {part.strip() for part in _split(text)}
    without: dict[str, list[str]] = {}
    for name, (family, sources) in wanting().items():
        if groups & {family, EVERYTHING}:
            without.setdefault(shlex.join(sources), []).append(name)
    return [
        f"Without {', '.join(names)}, which need a package: pip install {sources}."
        for sources, names in without.items()
    ]


def carried(
    variants: Sequence[Variant], vits: "Collection[FrozenBackbone]"
) -> tuple[list[Variant], list[str]]:
    """Variants without those that only a group stands for and that need what a backbone lacks, or
    whose constructor refuses it; and a line on each reason. Raises `BadInput` where none is
    left."""
    without: dict[str, list[str]] = {}
    refused: list[str] = []
    kept = [variant for variant in variants if variant.by_name]
    if len(kept) < len(variants):
        empty = [_without_memory(vit) for vit in vits]
        for variant in variants:
            if variant.by_name:
                continue
            if why := next(filter(None, map(variant.lacks, empty)), ""):
                without.setdefault(why, []).append(variant.label)
            elif why := next(filter(None, map(variant.refusal, empty)), ""):
                refused.append(f"Without {variant.label}, which {why}.")
            else:
                kept.append(variant)
        kept.sort(key=variants.index)
    lines = [
        f"Without {', '.join(labels)}: {'it needs' if len(labels) == 1 else 'they need'} {why}."
        for why, labels in without.items()
    ]
    lines += refused
    if not kept:
        raise BadInput("\n".join(lines))
    return kept, lines


def _without_memory(vit: "FrozenBackbone") -> "FrozenBackbone":
    """A copy whose tensors have shapes alone."""
    from torch import nn

    shapes = {
        id(p): nn.Parameter(p.detach().to("meta"), requires_grad=p.requires_grad)
        for p in vit.parameters()
    }
    return copy.deepcopy(vit, shapes).to("meta")


def files_in(text: str) -> list[str]:
    """The files of one's own methods that a list of methods names."""
    origins = (part.strip().partition("(")[0].strip() for part in _split(text))
    return [origin.rpartition(":")[0] for origin in origins if ".py:" in origin]


def _without_groups(parts: list[str]) -> list[tuple[str, bool]]:
    """Names of families replaced by those of their methods; and whether each was there by name,
    which those that are run by default aren't."""
    known, names = registered(), [part.strip() for part in parts]
    if ",".join(names) == flags.DEFAULT_METHODS:
        return [(name, False) for name in names]

    def is_group(name: str) -> bool:
        if name not in known:
            return re.fullmatch(r"[\w-]+", name) is not None
        try:
            return names_family(known[name].load())
        except Exception:  # somebody else's package may fail in any way
            return False

    if not any(is_group(name) for name in names):
        return [(part, True) for part in parts]
    groups = families()
    groups[EVERYTHING] = sorted(known.keys() - wanting().keys() - of_registered(kinds_of).keys())
    found: list[tuple[str, bool]] = []
    for part, name in zip(parts, names, strict=True):
        group = name in groups and is_group(name)
        found += [(member, not group) for member in (groups[name] if group else [part])]
    return found


def _single(text: str) -> str:
    """A list's text where one method is meant: a bare name that a family has too is the method."""
    return f"{text.strip()}()" if text.strip() in registered() else text


def _split(text: str) -> list[str]:
    return re.split(r",(?![^(]*\))", text)
