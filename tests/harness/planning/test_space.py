"""What a protocol makes of a method's search space, and what a plan says of it."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from harness.errors import BadInput
from harness.planning import protocols
from harness.planning.search_space import search_space, searched
from harness.planning.space import described, largest, narrowed
from harness.planning.variant import Variant
from harness.planning.variants import parse
from harness.training.method import Method

CHOICES, INT, FLOAT = CategoricalDistribution, IntDistribution, FloatDistribution


@pytest.mark.parametrize(
    ("own", "to", "both"),
    [
        (CHOICES((5, 10, 20)), CHOICES((10, 20)), CHOICES((10, 20))),
        (CHOICES((5, 10)), CHOICES((10, 20)), CHOICES((10,))),
        (CHOICES((2, 4)), CHOICES((10, 20)), None),
        (CHOICES((True, False)), CHOICES((1,)), None),
        (CHOICES((False, "gate")), CHOICES(("gate", True)), CHOICES(("gate",))),
        (CHOICES((5, 10, "many")), FLOAT(6.0, 50.0), CHOICES((10,))),
        (INT(1, 15), CHOICES((10.0, 12.5, 20)), CHOICES((10,))),
        (INT(1, 9, step=4), CHOICES((5, 6)), CHOICES((5,))),
        (INT(1, 200, log=True), FLOAT(2.5, 7.5), INT(3, 7, log=True)),
        (INT(1, 9, step=4), FLOAT(2.0, 100.0), INT(5, 9, step=4)),
        (INT(1, 4), FLOAT(4.5, 8.0), None),
        (FLOAT(0.0, 1.0), FLOAT(0.5, 2.0), FLOAT(0.5, 1.0)),
        (FLOAT(0.0, 1.0), FLOAT(0.1, 2.0, log=True), FLOAT(0.1, 1.0, log=True)),
        (FLOAT(0.0, 1.0, step=0.25), FLOAT(0.3, 0.9), FLOAT(0.5, 0.75, step=0.25)),
        (FLOAT(0.0, 0.3, step=0.1), CHOICES((0.3, 0.35)), CHOICES((0.3,))),
    ],
)
def test_narrowing_keeps_the_values_of_both(
    own: BaseDistribution, to: BaseDistribution, both: BaseDistribution | None
):
    assert narrowed(own, to) == both
    if isinstance(both, CategoricalDistribution) and isinstance(own, IntDistribution):
        assert all(type(choice) is int for choice in both.choices)


def test_how_it_is_said():
    said = [
        described(one)
        for one in (
            CHOICES((5, True, "gate")),
            INT(1, 200, log=True),
            INT(2, 8, step=2),
            FLOAT(0.15, 2.0),
        )
    ]
    assert said == ["5, true, gate", "1 to 200 (log)", "2 to 8 in steps of 2", "0.15 to 2"]
    assert [
        largest(one)
        for one in (CHOICES((5, 20)), CHOICES((True, False)), CHOICES(("a", 1)), INT(1, 4))
    ] == [20, None, None, 4]


class Early(Method):
    name = "early"
    search_space = {"prompts": CHOICES((5, 10, 20)), "blocks": INT(1, 4)}

    def __init__(self, vit, prompts: int = 10, blocks: int = 2):
        super().__init__(vit)


def variant_of(space: Mapping[str, BaseDistribution], **fixed: int) -> Variant:
    return Variant(type("Mine", (Early,), {"search_space": space}), "mine", fixed, "./mine.py:Mine")


def test_of_a_users_method_only_values_that_it_names_are_searched():
    mini = protocols.load("mini")
    both, one = variant_of(Early.search_space), variant_of({"prompts": CHOICES((5, 10))})
    assert search_space(both, mini)["prompts"] == CHOICES((10, 20))
    assert search_space(both, mini)["blocks"] == INT(1, 4)
    assert search_space(one, mini)["prompts"] == CHOICES((10,))
    (line,) = searched([(both, mini)])
    assert (
        "prompts 10, 20 (protocol mini; its own are 5, 10, 20); blocks 1 to 4; base_lr 0.15 to 2"
        " (log)" in line
    )


def test_a_method_that_has_none_of_a_protocols_values_keeps_its_own_and_the_plan_says_so():
    mini, none = protocols.load("mini"), variant_of({"prompts": CHOICES((2, 4))})
    assert search_space(none, mini)["prompts"] == CHOICES((2, 4))
    (line,) = searched([(none, mini)])
    assert "prompts 2, 4 (its own: protocol mini has 10, 20, none of which it allows)" in line


def test_choices_are_declared_as_a_tuple_or_a_list_and_are_a_distribution_in_the_class():
    class Short(Method):
        search_space = {"prompts": (5, 10), "blocks": INT(1, 4), "wrong": ()}
        allows = {"prompts": [1, 2]}

    class Shorter(Short):
        allows = {}

    assert Short.search_space == {"prompts": CHOICES((5, 10)), "blocks": INT(1, 4), "wrong": ()}
    assert Short.allows == {"prompts": CHOICES((1, 2))}
    assert Shorter.search_space is Short.search_space
    assert Shorter.allows == Method.allows == {}


def test_the_shipped_protocols_search_the_lengths_that_they_name():
    (deep,) = parse("vpt-deep")  # it allows any length
    lengths = {
        name: search_space(deep, protocols.load(name))["prompts"]
        for name in ("mini", "default", "vpt")
    }
    assert lengths == {
        "mini": CHOICES((10, 20)),
        "default": CHOICES((10, 50)),
        "vpt": CHOICES((1, 5, 10, 50, 100, 200)),
    }


def test_a_fixed_argument_is_no_part_of_what_is_searched():
    fixed, mini = variant_of(Early.search_space, prompts=7), protocols.load("mini")
    (line,) = searched([(fixed, mini)])
    assert "searches blocks 1 to 4; base_lr" in line


def test_variants_that_search_the_same_share_a_line():
    petl = protocols.load("petl")
    variants = parse("bitfit,vpt-deep,ln-tuning")
    lines = searched((variant, petl) for variant in variants for _ in range(2))
    rates = "base_lr 0.004, 0.04; weight_decay 0.0001, 0.001."
    assert lines[0] == f"bitfit, ln-tuning search {rates}"
    assert lines[1].startswith("vpt-deep searches prompts")
    assert len(lines) == 2


MINE = """
from optuna.distributions import CategoricalDistribution

from methods.vpt import VPTDeep


class Mine(VPTDeep):
    name = "mine"
    {}
"""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "search_space = ['prompts']",
            "search_space must be a dict of choices by argument, not a list",
        ),
        (
            "search_space = {'prompts': 5}",
            r"search_space\['prompts'\] must be choices or an Optuna distribution, not an int:",
        ),
        ("search_space = {'prompts': ()}", "must be choices or an Optuna distribution, not empty"),
        ("allows = {'prompts': '5'}", r"allows\['prompts'\] must be choices .*, not a str: write"),
        (
            "search_space = {'prompt': CategoricalDistribution((5, 10))}",
            "names 'prompt', .*Did you mean 'prompts'",
        ),
        ("search_space = {'prompts': CategoricalDistribution((None, 5))}", "has None"),
        ("search_space = property(lambda self: {})", "search_space must be a dict"),
        (
            "name = property(lambda self: 'mine')",
            "name must be a string in the class .* not a property",
        ),
        ("name = 'my method'", "a name is one word"),
        ("version = 2", "version must be a string .* not an int"),
        ("toggles = 'scaled'", "toggles must be a tuple"),
        ("toggles = ('scaled',)", "toggles names 'scaled', which isn't an argument"),
        ("toggles = ('dropout',)", "toggles names 'dropout', whose default isn't True or False"),
        (
            "toggles = ('x',)\n    __init__ = lambda self, vit, **rest: None",
            "toggles names 'x', which isn't an argument",
        ),
        (
            "search_space = {'absent': CategoricalDistribution((1,))}",
            "of the protocol. The constructor's: prompts, dropout.$",
        ),
        ("forward = 3", r"forward must be a method, forward\(self, images, read\), not an int"),
        ("optimizer = 'adamw'", "optimizer must be a dict"),
        ("constant_features = 'no'", "constant_features must be True or False"),
        ("__init__ = lambda self, *, vit, prompts=5: None", "its constructor takes no ViT"),
    ],
)
def test_a_wrong_attribute_is_one_line_before_anything_runs(
    tmp_path: Path, line: str, message: str
):
    file = tmp_path / "mine.py"
    file.write_text(MINE.format(line))
    with pytest.raises(BadInput, match=message) as caught:
        parse(f"{file}:Mine", also=["base_lr", "weight_decay"])
    assert "\n" not in str(caught.value)


def test_the_plan_says_what_is_searched(tiny):
    (tiny.folder / "mine.py").write_text(
        MINE.format("search_space = {'prompts': CategoricalDistribution((1, 2))}")
    )
    command = tiny.arguments("--dry-run", methods=f"vpt-deep,{tiny.folder}/mine.py:Mine")
    done = subprocess.run(
        [sys.executable, "-m", "harness", *command],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    said = " ".join(done.stdout.split())
    assert (
        "vpt-deep searches prompts 2, 4 (protocol quick; its own are 1, 5, 10, 50, 100, 200);"
        " base_lr 0.1 to 1 (log); weight_decay 0.0." in said
    )
    assert "mine searches prompts 2 (protocol quick; its own are 1, 2);" in said
