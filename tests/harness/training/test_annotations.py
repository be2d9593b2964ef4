"""What the annotations of a constructor say of its arguments' values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import pytest

from harness.backbones.frozen import FrozenBackbone
from harness.errors import BadInput
from harness.planning.variants import parse
from harness.training.annotations import check_arguments, choices, wrong_choice
from harness.training.method import Method

if TYPE_CHECKING:
    from harness.api import Absent  # type: ignore[attr-defined]


class Chosen(Method):
    name = "chosen"

    def __init__(
        self,
        vit: FrozenBackbone,
        form: Literal["a", "b"] = "a",
        place: Literal[1, 2] = 1,
        gate: bool | Literal["soft"] = True,
        k: int | Literal["all"] = 10,
        rest: Any = None,
    ):
        self.check(locals())
        super().__init__(vit)


class Lax(Chosen):
    name = "lax"

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """Of its own, as a user writes it."""
        if arguments.get("k") == 0:
            raise ValueError("lax's k is from 1 on")


class Unknown(Method):
    def __init__(self, vit: FrozenBackbone, form: Literal["a"] = "a", other: Absent = None):
        super().__init__(vit)


@pytest.mark.parametrize(
    ("annotation", "named"),
    [
        (Literal["a", "b"], ["a", "b"]),
        (bool | Literal["soft"], [True, False, "soft"]),
        (int | Literal["all"], ["all"]),
        (Literal[1] | Literal[2], [1, 2]),
        (bool, []),
        (int | None, []),
    ],
)
def test_the_values_that_an_annotation_names(annotation: Any, named: list[Any]):
    assert choices(annotation) == named


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"form": "b", "place": 2, "gate": False, "k": 3, "rest": object(), "vit": None},
        {"gate": "soft", "k": "all"},
        {"k": "every"},  # an int or a name: for the method itself to say
        {"nowhere": 1},
    ],
)
def test_what_is_named_is_right(arguments: dict[str, Any]):
    assert wrong_choice(Chosen, arguments) is None
    Chosen.check(arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "c"}, "chosen's form is one of a, b, not c"),
        ({"form": "a", "place": 3}, "chosen's place is one of 1, 2, not 3"),
        ({"place": True}, "chosen's place is one of 1, 2, not true"),
        ({"gate": 1}, "chosen's gate is one of true, false, soft, not 1"),
    ],
)
def test_anything_else_is_refused_by_name(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Chosen.check(arguments)
    with pytest.raises(ValueError, match=f"^{message}$"):
        Chosen(None, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"form": "c", "k": 0}, "lax's form is one of a, b, not c"), ({"k": 0}, "lax's k is from 1")],
)
def test_a_check_of_its_own_neither_hides_the_choices_nor_is_hidden(
    arguments: dict[str, Any], message: str
):
    with pytest.raises(ValueError, match=f"^{message}"):
        check_arguments(Lax, arguments)
    typed = ",".join(f"{name}={value}" for name, value in arguments.items())
    with pytest.raises(BadInput, match=f"^{message}"):
        parse(f"{__file__}:Lax({typed})")


def test_an_annotation_that_cant_be_evaluated_refuses_nothing():
    assert wrong_choice(Unknown, {"form": "c"}) is None
