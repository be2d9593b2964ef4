"""What holds for every built-in method."""

import re
from pathlib import Path

import pytest
from timm.models.vision_transformer import VisionTransformer
from vit_methods import ON_VITS

from harness.api import toggled
from harness.backbones.vit import FrozenViT
from harness.planning import declaration
from harness.planning.registry import registered
from harness.planning.variants import one, parse
from harness.training.method import Effort, Method

NAMES = sorted(name for name, entry in registered().items() if entry.value.startswith("methods."))
LONGEST = {"ivpt.py": 205, "selective.py": 140, "hf_peft.py": 134, "fact.py": 131}
FOLDER = Path(__file__).parents[2] / "methods"


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name: str):
    variant = one(name)
    method = variant.method
    declaration.check(method, name)
    assert method.name == name
    assert method.family in ("prompts", "peft", "references")
    assert method.summary
    if method.family != "references":
        assert method.year is not None
        assert 2018 < method.year <= 2026
        assert re.search(r"arXiv \d{4}\.\d{5}", method.summary)
    assert method.effort({}, 100, 64) == Effort(method.stages, method.effort({}, 100, 64).forwards)


@pytest.mark.parametrize("name", [name for name in ON_VITS if parse(name)[0].method.toggles])
def test_every_combination_of_its_toggles_can_be_built(name: str, plain: VisionTransformer):
    variants = parse(toggled(name))
    assert len(variants) > 1
    for variant in variants:
        assert isinstance(variant.build(FrozenViT(plain), variant.arguments), Method)


def test_a_method_is_a_short_file():
    for file in FOLDER.glob("*.py"):
        assert len(file.read_text().splitlines()) <= LONGEST.get(file.name, 130), file.name
