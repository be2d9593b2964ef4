"""A method variant: a class with some of its arguments fixed, as `ivpt(da=false,prompts=50)` is
written."""

import copy
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from harness.backbones.carried import Uncarried, lacking
from harness.errors import BadInput, unknown
from harness.planning import declaration, user_errors
from harness.planning.declaration import own_arguments
from harness.planning.registry import is_ours, names_family
from harness.planning.source import Code, imported
from harness.training.annotations import check_arguments

if TYPE_CHECKING:
    from harness.backbones.frozen import FrozenBackbone
    from harness.data.normalization import Statistics
    from harness.tasks.cards import TaskCard
    from harness.training.method import Method

HINT = (
    " (where it calls nothing but functions of self.vit, and gives them prompts, write needs ="
    ' ("column", "prompts") in its class)'
)

WITHOUT_COLUMN = (
    ' (to run there too, leave "column" out of needs: new_prompts(vit, vit.depth, count) is then a'
    " list of one tensor per block, of that block's width)"
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
