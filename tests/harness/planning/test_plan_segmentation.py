"""Cells of segmentation tasks: their keys, recipes, suites, and what can't be planned."""

import re

import pytest
from segmentation import planned, seg

from harness.errors import BadInput
from harness.planning.plan import plan
from harness.planning.request import Request

__all__ = ["seg"]


def test_the_key_holds_what_a_score_depends_on_and_nothing_else(seg):
    def key(**changes) -> str:
        return planned(seg, "vpt-deep", **changes).cells[0].key

    before = key()
    assert key(seeds=(9,)) == before
    assert key(trials=3) != before
    said, card = seg.protocol.read_text(), (seg.cards / "halves.toml").read_text()
    for changed, same in (
        (said.replace("iterations = 8", "iterations = 9"), False),
        (said.replace("epochs = 2", "epochs = 3", 1), True),
    ):
        seg.protocol.write_text(changed)
        assert (key() == before) is same
    seg.protocol.write_text(said)
    assert key() == before
    (seg.cards / "halves.toml").write_text(card.replace("crop = 30", "crop = 25"))
    assert key() != before


def test_a_learning_rate_that_a_variant_or_a_method_fixes_is_the_ones_used(seg):
    fixed, lora = planned(seg, "linear(base_lr=0.25),lora").cells
    assert fixed.recipe({}).base_lr == 0.25
    assert fixed.trials == 0
    point = {"rank": 4, "base_lr": 0.01}
    assert lora.recipe(point).base_lr == 0.01
    assert lora.method_arguments(point) == {"rank": 4}
    seg.protocol.write_text(
        re.sub(r"\[segmentation.space\]\nbase_lr.*\n", "", seg.protocol.read_text())
    )
    plain, lora = planned(seg, "linear,lora").cells
    assert (plain.recipe({}).base_lr, plain.trials) == (0.5, 0)
    assert lora.method_arguments(point) == {"rank": 4}


def test_what_cant_be_run_is_one_line(seg):
    with pytest.raises(BadInput, match="--pixels tf isn't for segmentation"):
        planned(seg, "linear", pixels="tf")
    seg.protocol.write_text(seg.protocol.read_text().split("[segmentation]")[0])
    with pytest.raises(BadInput, match=r"protocol quick has no table \[segmentation\]"):
        planned(seg, "linear")


def test_the_suites_of_segmentation_have_their_own_backbone_and_protocol():
    run = plan(Request("linear,vpt,vpt-deep,ivpt", suite="mini-seg"))
    assert {cell.card.name for cell in run.cells} == {"sprites-scenes"}
    assert {(cell.backbone, cell.protocol.name, cell.protocol.last) for cell in run.cells} == {
        ("mini_vit", "mini", 320)
    }
    with pytest.raises(BadInput, match="ade20k"):
        plan(Request("linear", suite="everything"))  # its data isn't here, and it is asked for
