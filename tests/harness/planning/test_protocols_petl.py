"""Protocol `petl`, and the fields that came with it: no other protocol's keys have moved."""

from typing import Any

import pytest
import torch
from timm.scheduler.cosine_lr import CosineLRScheduler

from harness.data import normalization
from harness.errors import BadInput
from harness.planning import protocols
from harness.planning.cell import normalized_by
from harness.planning.request import Request
from harness.planning.search_space import search_space
from harness.planning.variant import Variant
from harness.planning.variants import parse
from harness.store import cell_key
from harness.training.classification import ClassificationRecipe
from methods.vpt import VPTDeep

IN21K, MAE = "vit_base_patch16_224.orig_in21k", "vit_base_patch16_224.mae"
KEYS = {
    "default": "1f0ce6c754472cd2",
    "mini": "9d2cc968e47ddf15",
    "vpt": "5f7889a08d45101f",
}
"""Of what each said of some cells before there was a `petl`; `mini` since it was shortened."""


def cell(protocol: Any, label: str, suite: str = "vtab", backbone: str = IN21K) -> Any:
    (variant,) = parse(label, also=("base_lr", "weight_decay"))
    own = protocol.for_cell(variant, suite, backbone, "train+val")
    return own.within(search_space(variant, own))


@pytest.mark.parametrize("name", KEYS)
def test_no_key_of_another_protocol_has_moved(name: str):
    identities = [
        cell(protocols.load(name).of(kind), label, suite, backbone).identity()
        for kind, suites in (
            ("classification", ("vtab", "fgvc")),
            ("segmentation", ("segmentation",)),
        )
        for label in ("linear", "vpt", "vpt-deep", "ivpt", "full")
        for suite in suites
        for backbone in (IN21K, MAE)
    ]
    assert cell_key({"identities": identities})[:16] == KEYS[name]


def test_a_stored_identity_gives_the_protocol_back():
    for name in protocols.names():
        own = cell(protocols.load(name), "vpt-deep")
        again = protocols.stored("classification", name, 0, own.identity())
        assert again.identity() == own.identity()
        assert {field: getattr(again, field) for field in own.added} == {
            field: getattr(own, field) for field in own.added
        }


def test_petl_is_one_recipe_for_all_methods():
    petl = protocols.load("petl")
    for label in ("lora", "ssf", "full", "vpt-deep", "linear", "vqt"):
        own = cell(petl, label)
        (variant,) = parse(label)
        space = search_space(variant, own)
        assert (own.optimizer, own.batch_size, own.epochs, own.no_decay, own.train_on) == (
            *("adamw", 64, 100, "vectors"),
            "train+val",
        )
        assert [rate * 64 / 256 for rate in space["base_lr"].choices] == [1e-3, 1e-2]  # type: ignore[attr-defined]
        assert space["weight_decay"].choices == (1e-4, 1e-3)  # type: ignore[attr-defined]
        assert (own.sampler, own.trials, own.seeds) == ("grid", None, (42, 44, 82, 100, 800))
        # features that are computed once can't have it
        assert own.drop_path == (0.0 if label == "linear" else 0.1)
    statistics = normalized_by(Request(), cell(petl, "lora"), IN21K)
    assert statistics == normalization.NONE


def test_dropout_goes_to_the_methods_that_have_it():
    petl = protocols.load("petl")
    assert cell(petl, "vpt-deep").method_arguments == {"dropout": 0.1}
    assert cell(petl, "vpt").method_arguments == {"dropout": 0.1}  # 0 by its default
    assert cell(petl, "full").method_arguments == {}
    fixed = cell(petl, "vpt-deep(dropout=0.3)")
    assert fixed.method_arguments == {}  # the variant has it
    assert cell(petl, "full").method_defaults == {}

    class Without(VPTDeep):
        name = "without"

        @classmethod
        def check(cls, arguments: Any) -> None:
            if arguments.get("dropout"):
                raise ValueError("without has no dropout")

    own = petl.for_cell(Variant(Without, "without", {}, "without"), "vtab", IN21K, "train+val")
    assert own.method_arguments == {}


def test_petls_rates_are_timms():
    """The released trainer's scheduler, without its lag of an epoch."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1e-2)
    theirs = CosineLRScheduler(
        optimizer, t_initial=100, warmup_t=10, lr_min=1e-5, warmup_lr_init=1e-6
    )
    petl = protocols.load("petl")
    fields: dict[str, Any] = {
        name: getattr(petl, name) for name in ClassificationRecipe.names() if hasattr(petl, name)
    }
    recipe = ClassificationRecipe(**fields, base_lr=0.04, weight_decay=0.0)
    for epoch in range(100):
        theirs.step(epoch)
        assert recipe.lr(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert recipe.lr(0) == pytest.approx(1e-6, rel=1e-12)
    assert recipe.lr(99, factor=1e-4) <= 1.0001e-6  # never above the peak of slower tensors


def test_every_key_is_a_users_too(tmp_path: Any):
    (tmp_path / "mine.toml").write_text(
        'extends = "petl"\ntitle = "mine"\none_recipe = false\ndrop_path = 0.2\nfirst_lr = 1e-5\n'
        'lowest_lr = 0.0\ncosine_over = "rest"\nnormalize = "inception"\nseeds = [0]\n'
        "[method_defaults]\ndropout = 0.0\nscale = 0.1\n"
        '[[override]]\nmethod = "lora"\ndrop_path = 0.3\n'
    )
    mine = protocols.load(str(tmp_path / "mine.toml"))
    deep, lora = cell(mine, "vpt-deep"), cell(mine, "lora")
    assert (deep.drop_path, lora.drop_path, deep.method_arguments) == (0.2, 0.3, {"dropout": 0.0})
    (variant,) = parse("full")
    choices = search_space(variant, cell(mine, "full"))["base_lr"].choices  # type: ignore[attr-defined]
    assert set(choices) == {0.001, 0.0001, 0.0005, 0.005}  # its class's, without one_recipe
    assert normalized_by(Request(), mine, IN21K) == normalization.INCEPTION
    assert normalized_by(Request(normalize="imagenet"), mine, IN21K) == normalization.IMAGENET
    for line, message in (
        ("warmup_from_zero = true", "first_lr: warmup_from_zero starts from 0"),
        ("[[override]]\none_recipe = false", "override 3: one_recipe: is the same for all"),
        ("drop_path = 1.0", "drop_path"),
    ):
        (tmp_path / "wrong.toml").write_text(f'extends = "petl"\n{line}\n')
        with pytest.raises(BadInput, match=message):
            protocols.load(str(tmp_path / "wrong.toml"))
