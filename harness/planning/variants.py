"""Method variants: the text `ivpt(da=false,prompts=50)` and the class with fixed arguments that it
denotes."""

import copy
import re
import shlex
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from harness.backbones.carried import Uncarried, lacking
from harness.errors import BadInput, nearest, unknown
from harness.io import commands, flags
from harness.planning import declaration, registry, user_errors
from harness.planning.declaration import own_arguments
from harness.planning.registry import (
    entries,
    families,
    is_ours,
    kinds_of,
    missing,
    names_family,
    of_registered,
    registered,
    wanting,
)
from harness.planning.source import Code, check_apart, imported, of_class, of_file
from harness.text import plain
from harness.training.annotations import check_arguments

if TYPE_CHECKING:
    from harness.backbones.frozen import FrozenBackbone
    from harness.data.normalization import Statistics
    from harness.tasks.cards import TaskCard
    from harness.training.method import Method

EVERYTHING = "everything"
"""In a list of methods, all that are registered."""
RENAMED = {"adapter": "adaptformer", "bias": "bitfit"}
"""Methods that had another name."""
HINT = (
    " (where it calls nothing but functions of self.vit, and gives them prompts, write needs ="
    ' ("column", "prompts") in its class)'
)
WITHOUT_COLUMN = (
    ' (to run there too, leave "column" out of needs: new_prompts(vit, vit.depth, count) is then a'
    " list of one tensor per block, of that block's width)"
)
OWN_METHODS = (
    "A method in a file is FILE.py:CLASS; one that was registered as an entry point is known once"
    " its package is installed again."
)


@dataclass(frozen=True)
class Variant:
    """A method with some of its arguments fixed; the rest are searched or keep their defaults."""

    method: "type[Method]"
    name: str
    arguments: dict[str, Any]
    origin: str
    """How it was requested: a registered name, or FILE.py:CLASS."""
    code: Code | None = field(default=None, compare=False, repr=False)
    """The method's code, unless it is one of ours."""
    by_name: bool = field(default=True, compare=False, repr=False)
    """False where only a group was asked for, such as `prompts`."""

    @property
    def label(self) -> str:
        """As the user writes it, arguments sorted: `ivpt(da=false,prompts=50)`."""
        inside = ",".join(f"{key}={_text(value)}" for key, value in sorted(self.arguments.items()))
        return f"{self.name}({inside})" if inside or names_family(self.method) else self.name

    def is_written(self, text: str) -> bool:
        """Whether a text such as `ivpt(cdc=true)` is this variant: its arguments may be in any
        order, and those that aren't searched may be left out where they are the default."""
        name, _, inside = text.partition("(")
        try:
            other = read_arguments(self.name, self.method, inside.strip().removesuffix(")"), ())
        except BadInput:  # of an older version of the method
            return False
        settled = {
            key: value
            for key, value in declaration.defaults(self.method).items()
            if key not in self.method.search_space
        }
        return name.strip() == self.name and settled | other == settled | self.arguments

    def has_constant_features(self, card: "TaskCard") -> bool:
        """Whether the tokens that a head reads can be computed once: the method leaves them
        unchanged, and pixels aren't drawn anew."""
        return self.method.constant_features and not card.pixels_are_drawn

    def check_carried(self, vit: "FrozenBackbone") -> None:
        """Raises `Uncarried` where a backbone lacks what the method needs."""
        if lacks := self.lacks(vit):
            raise Uncarried(f"{self.name} needs {lacks}{self._hint(vit)}.")

    def _hint(self, vit: "FrozenBackbone") -> str:
        """How a method of one's own may be changed to run there too."""
        from harness.training.method import Method

        if is_ours(self.method):
            return ""
        if self.method.needs is Method.needs:
            return HINT
        return WITHOUT_COLUMN if {*self.method.needs} - vit.carries == {"column"} else ""

    def lacks(self, vit: "FrozenBackbone") -> str:
        """What the method needs and a backbone lacks, in words; empty where it lacks nothing."""
        return lacking(self.method.needs, vit.name, vit.carries)

    def refusal(self, vit: "FrozenBackbone") -> str:
        """What the method's constructor says against a backbone whose tensors have shapes alone, in
        words; empty where it says nothing."""
        from harness.backbones.shapes import shapes_only

        try:
            with shapes_only():
                self.build(vit, self.arguments)
        except ValueError as error:
            return f"can't be built on {vit.name}: {user_errors.line(error)}"
        except (Exception, SystemExit):  # that values aren't there; or what a real build will say
            return ""
        return ""

    def build(
        self,
        vit: "FrozenBackbone",
        arguments: Mapping[str, Any],
        statistics: "Statistics | None" = None,
        drop_path: float = 0.0,
    ) -> "Method":
        """The method on a copy of `vit`, modules and tensors, that nothing else uses: it may
        change, hook or overwrite anything in it. `statistics`: those of its pixels, if they aren't
        ImageNet's. `drop_path`: of the copy, where it is to be trained.

        Raises what the method's constructor raises, `Uncarried` where the backbone lacks what the
        method needs, and `ValueError` if it changed a part of the backbone that isn't called.
        """
        self.check_carried(vit)
        own = copy.deepcopy(vit)
        own.statistics = statistics or vit.statistics
        own.drop_paths(drop_path)
        built = self.method(own, **arguments)
        if "_modules" not in vars(built) or "vit" not in built._modules:
            raise TypeError(
                f"{self.method.__name__}.__init__ doesn't call super().__init__(vit), which it must"
                " do first"
            )
        if not isinstance(built.vit, type(vit)):
            raise TypeError(
                f"{self.method.__name__}'s self.vit must be the backbone that it is given, not a"
                f" {type(built.vit).__name__}"
            )
        built.vit.check()
        return built

    @property
    def identity(self) -> dict[str, Any]:
        """Its part of a score's key. For ours, a version stands for the code; for others the code
        itself is included, with the versions of ours that they inherit from. The versions of other
        packages that it is built on are included too."""
        identity: dict[str, Any] = {
            "name": self.name,
            "version": self.method.version,
            "arguments": self.arguments,
        }
        if self.method.packages:
            identity["packages"] = {name: version(name) for name in self.method.packages}
        if is_ours(self.method):
            return identity
        if self.code is not None:
            identity["source"] = self.code.digest
        bases = {
            base.name: base.version
            for base in self.method.__mro__
            if is_ours(base) and "name" in vars(base)
        }
        return {**identity, "bases": bases} if bases else identity

    def __reduce__(self) -> Any:
        """A method in the user's file is sent to a worker as text: it may contain what can't be
        pickled, and the file may change meanwhile."""
        if ".py:" not in self.origin or self.code is None:
            return Variant, (self.method, self.name, self.arguments, self.origin, self.code)
        return _restored, (
            self.code,
            self.origin.rpartition(":")[2],
            self.name,
            self.arguments,
            self.origin,
        )


def _restored(
    code: Code, attribute: str, name: str, arguments: dict[str, Any], origin: str
) -> Variant:
    return Variant(getattr(imported(code), attribute), name, arguments, origin, code)


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
        name, method, code = _find(origin)
        declaration.check(method, origin, also or None)
        _check_packages(name, method)
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


def files_in(text: str) -> list[str]:
    """The files of one's own methods that a list of methods names."""
    origins = (part.strip().partition("(")[0].strip() for part in _split(text))
    return [origin.rpartition(":")[0] for origin in origins if ".py:" in origin]


def _without_memory(vit: "FrozenBackbone") -> "FrozenBackbone":
    """A copy whose tensors have shapes alone."""
    from torch import nn

    shapes = {
        id(p): nn.Parameter(p.detach().to("meta"), requires_grad=p.requires_grad)
        for p in vit.parameters()
    }
    return copy.deepcopy(vit, shapes).to("meta")


def _split(text: str) -> list[str]:
    return re.split(r",(?![^(]*\))", text)


def one(method: "str | type[Method]", also: Collection[str] = ()) -> Variant:
    """As `parse`, of a text that names one method; or a class as it is. Raises `BadInput`."""
    if isinstance(method, str):
        found = parse(_single(method), also)
        if len(found) != 1:
            raise BadInput(f"'{method}': one method at a time.")
        return found[0]
    declaration.check(method, method.__name__, also)
    return Variant(method, getattr(method, "name", method.__name__), {}, method.__name__)


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


def _find(name: str) -> "tuple[str, type[Method], Code | None]":
    from harness.training.method import Method

    if ".py:" in name:
        file, _, attribute = name.rpartition(":")
        code = of_file(flags.path(file))
        value = getattr(_module_of(code, file), attribute, None)
        if not (isinstance(value, type) and issubclass(value, Method)):
            if value is None:
                raise BadInput(
                    f"{file} has no method '{attribute}', a subclass of"
                    f" harness.Method{_others(_module_of(code, file))}."
                )
            kind = "a plain nn.Module" if _is_module(value) else "not a method"
            raise BadInput(
                f"{name} is {kind}: make it a subclass of harness.Method, with"
                " forward(self, images, read)."
            )
        called = getattr(value, "name", attribute)
        if called in registered():
            whose = "" if "name" in vars(value) else f", inherited from {value.__mro__[1].__name__}"
            raise BadInput(
                f"{name} is named '{called}'{whose}, like a registered method: give the class a"
                " different `name`."
            )
        return called, value, code
    known = registered()
    if name.endswith(".py"):
        code = of_file(flags.path(name))
        raise BadInput(f"{name}: add the class, {name}:CLASS{_others(_module_of(code, name))}.")
    if name in RENAMED and name not in known:
        raise BadInput(f"the method '{name}' is called {RENAMED[name]} now.")
    if name not in known:
        names = [*known, *families(), EVERYTHING]
        error = unknown("method", name, names)
        raise error if nearest(name, names) else BadInput(f"{error} {OWN_METHODS}")
    if len(others := {entry.value for entry in entries() if entry.name == name}) > 1:
        raise BadInput(
            f"method '{name}' is registered by {' and by '.join(sorted(others))}: uninstall one of"
            " these packages."
        )
    try:
        method = known[name].load()
    except Exception as error:  # somebody else's package may fail in any way
        raise BadInput(
            f"method '{name}' can't be imported from {known[name].value}: {type(error).__name__}:"
            f" {error}."
        ) from error
    return name, method, None if is_ours(method) else of_class(method)


def _check_packages(name: str, method: "type[Method]") -> None:
    if sources := missing(method):
        absent = [package for package in method.packages if not registry.is_installed(package)]
        raise BadInput(
            f"method '{name}' needs {' and '.join(absent)}: pip install {shlex.join(sources)}."
        )


def _module_of(code: Code, file: str) -> Any:
    try:
        return imported(code)
    except BadInput:
        raise
    except SystemExit as error:
        raise BadInput(
            f"{file} ends Python while it is imported (SystemExit: {error};"
            f" {user_errors.place(error)}): put its script part under `if __name__ =="
            ' "__main__":`.'
        ) from error
    except Exception as error:  # the user's code may fail in any way
        message = (
            user_errors.line(error)
            if not isinstance(error, ValueError)
            else f"{type(error).__name__}: {user_errors.line(error)}"
        )
        if isinstance(error, ModuleNotFoundError) and str(error.name).split(".")[0] in (
            "methods",
            "harness",
        ):
            message += (
                f"; '{str(error.name).split('.')[0]}' is this harness's own package, so rename"
                " yours"
            )
        raise BadInput(f"{file} can't be imported: {message}.") from error


def _is_module(value: Any) -> bool:
    from torch import nn

    return isinstance(value, type) and issubclass(value, nn.Module)


def _others(module: Any) -> str:
    """A hint with the methods in a file, for a user who named another."""
    from harness.training.method import Method

    names = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Method)
    ]
    here = [name for name in names if vars(module)[name].__module__ == module.__name__]
    return f". It has {', '.join(here)}" if here else ""


def read_arguments(
    name: str, method: "type[Method]", inside: str, also: Collection[str]
) -> dict[str, Any]:
    """`rank=8,scale=0.1` as values of a method's arguments, or of those in `also`. Raises
    `BadInput`."""
    known, arguments = own_arguments(method), {}
    for item in filter(None, (item.strip() for item in inside.split(","))):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not value:
            raise BadInput(f"{name}({inside}): write argument=value, not '{item}'.")
        if key not in known and key not in also:
            raise unknown(f"argument of {name}", key, [*known, *also])
        arguments[key] = _value(value)
        kind = known[key].annotation if key in known else float
        good = {
            int: type(arguments[key]) is int,
            float: type(arguments[key]) in (int, float),
            bool: type(arguments[key]) is bool,
        }
        if not good.get(kind, True):
            raise BadInput(f"{name}: {key} must be {kind.__name__}, not '{value}'.")
    try:
        check_arguments(method, {key: value for key, value in arguments.items() if key in known})
    except ValueError as error:
        raise BadInput(f"{error}.") from error
    except (Exception, SystemExit) as error:  # the user's code may fail in any way
        raise BadInput(f"{name}: its check() fails: {user_errors.line(error)}.") from error
    return arguments


def _value(text: str) -> Any:
    try:
        return tomllib.loads(
            f"value = {text.lower() if text.lower() in ('true', 'false') else text}"
        )["value"]
    except (ValueError, RecursionError):
        return text


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
