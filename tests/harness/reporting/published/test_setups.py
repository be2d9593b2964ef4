"""What sets measured rows apart from published ones: rows as whole runs would store them, beside
VPT's own and others'."""

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.backbones import Backbone
from harness.backbones.frozen import Pooling
from harness.data.normalization import IMAGENET, NONE, Statistics
from harness.errors import BadInput
from harness.planning import protocols
from harness.planning.cell import plan_cell
from harness.planning.registry import registered
from harness.planning.request import Request
from harness.planning.variants import parse
from harness.reporting.leaderboard import leaderboard
from harness.reporting.published.numbers import differences, matching_rows, published
from harness.reporting.published.setups import (
    _WITHOUT_DROPOUT,  # pyright: ignore[reportPrivateUsage]
    Setup,
    setup_differences,
    setup_of_source,
    source_setups,
)
from harness.reporting.rows import read
from harness.reporting.section import Section, sections
from harness.store import Result, Store, result_id
from harness.tasks.cards import load_cards, load_suites

BACKBONES: dict[str, tuple[str, Pooling]] = {
    "sup-IN21k": ("vit_base_patch16_224.orig_in21k", "cls"),
    "MAE-IN1k": ("vit_base_patch16_224.mae", "vpt-mae"),
    "MoCov3-IN1k": ("vit_base_patch16_224.mocov3", "cls"),
    "Swin-B": ("swin_base_patch4_window7_224.ms_in22k", "avg+prompts"),
}
PIXELS = {"vtab": "tf", "fgvc": "vpt"}
SEARCH = "seed of the search: 0 here, none there"
TEST = "test set: read once here, read after every epoch there"
ADAMW = (
    "optimiser: adamw (eps 1e-06, decay before the step); sgd (momentum 0.9) where weight_decay is"
    " 0 here, adamw (eps 1e-06 before the bias correction, decay after the step); sgd (momentum"
    " 0.9) where weight_decay is 0 there"
)
CARS = (
    "learning rates at batch 256: 9 values from 0.1 to 50 here, 13 values from 0.1 to 1000 there,"
    " on stanford_cars"
)
ONE_RUN = "seeds: 5 here, 1 there"
SPARED = "spared from weight decay: all biases here, all biases and tables of position biases there"
MASK = "prompts' dropout has one mask for the whole batch, but before the first block"
OTHERS = "most windows see the travelling prompts of other images of their batch"


def section(
    pretrain: str = "sup-IN21k",
    suite: str = "vtab",
    protocol: str = "vpt",
    methods: str = "linear,vpt,vpt-deep,full,bitfit",
    precision: str = "fp32",
    pixels: str | None = None,
    normalize: Statistics = IMAGENET,
    pooling: Pooling | None = None,
) -> Section:
    """Rows of a whole run: cells by the plan's own code, with a final run a seed of the
    protocol."""
    store, cards, settings = Store("sqlite://"), load_cards(), protocols.load(protocol)
    name, pooled = BACKBONES[pretrain]
    vit: Any = SimpleNamespace(patch_size=(16, 16))
    backbone = Backbone(name, "ab" * 32, pooling or pooled, 224, IMAGENET, vit, "timm's hub")
    for task in load_suites()[suite].tasks:
        card = cards[task].model_copy(update={"pixels": pixels or PIXELS[suite]})
        for variant in parse(methods):
            cell = plan_cell(
                card, Request(), "d" * 64, variant, name, backbone, settings, normalize
            )
            store.add_cell(cell.cell)
            for seed in cell.seeds:
                id, made = result_id(cell.key, seed), {"precision": precision}
                store.add_result(
                    Result(
                        id,
                        cell.key,
                        seed,
                        {},
                        50.0,
                        9,
                        9,
                        "e" * 64,
                        1.0,
                        1,
                        1.0,
                        {},
                        made,
                        "2026-01-01",
                    )
                )
    (found,) = sections(leaderboard(read(store)), None, None)
    return found


def phrases(part: Section, method: str) -> list[str]:
    """Of the published row of this name."""
    (row,) = (row for row in matching_rows(part, published()).rows if row.method == method)
    return differences(part, row)


@pytest.fixture(scope="module")
def vpt_run() -> dict[tuple[str, str], Section]:
    """A whole run by protocol `vpt`, float32, on both suites and all of VPT's Transformers; of Swin
    it has no FGVC."""
    return {
        (pretrain, suite): section(pretrain, suite)
        for pretrain in BACKBONES
        for suite in PIXELS
        if (pretrain, suite) != ("Swin-B", "fgvc")
    }


LEFT: dict[tuple[str, str], dict[str, Sequence[str]]] = {
    ("sup-IN21k", "vtab"): {
        "linear": [SEARCH, TEST],
        "vpt": [SEARCH, TEST],
        "vpt-deep": [SEARCH, TEST],
        "full": ["the backbone's dropout: 0 here, 0.1 there", ADAMW, SEARCH, TEST],
        "BitFit": [ADAMW, SEARCH, TEST],
    },
    ("sup-IN21k", "fgvc"): {
        "linear": [SEARCH, TEST, ONE_RUN],
        "vpt": [CARS, SEARCH, TEST, ONE_RUN],
        "vpt-deep": [CARS, SEARCH, TEST, ONE_RUN],
        "full": ["the backbone's dropout: 0 here, 0.1 there", ADAMW, SEARCH, TEST, ONE_RUN],
        "BitFit": [ADAMW, SEARCH, TEST, ONE_RUN],
    },
    ("MAE-IN1k", "vtab"): {
        "linear": [SEARCH, TEST],
        "vpt": [SEARCH, TEST],
        "vpt-deep": [SEARCH, TEST],
        "full": [
            "features: vpt-mae here, vpt-mae, its norm trained there",
            "drop-path: 0 here, 0.1 there",
            ADAMW,
            SEARCH,
            TEST,
        ],
        "BitFit": [
            "features: vpt-mae here, vpt-mae, its norm's bias trained there",
            ADAMW,
            SEARCH,
            TEST,
        ],
    },
    ("MoCov3-IN1k", "vtab"): {
        "linear": [SEARCH, TEST],
        "vpt": [SEARCH, TEST],
        "vpt-deep": [SEARCH, TEST],
        "full": ["method there: its position embedding stays as it is", ADAMW, SEARCH, TEST],
        "BitFit": [ADAMW, SEARCH, TEST],
    },
    ("Swin-B", "vtab"): {
        "linear": [SEARCH, TEST],
        "vpt": [
            f"method there: {OTHERS}",
            SEARCH,
            TEST,
            "batch size, prompt lengths: not known for its source",
        ],
        "vpt-deep": [
            f"method there: {MASK}",
            SEARCH,
            TEST,
            "dropout, batch size, prompt lengths: not known for its source",
        ],
        "full": ["drop-path: 0 here, 0.5 there", ADAMW, SPARED, SEARCH, TEST],
        "BitFit": [ADAMW, SPARED, SEARCH, TEST],
    },
}


@pytest.mark.parametrize(("pretrain", "suite"), list(LEFT))
def test_what_is_left_beside_vpts_own_rows(
    vpt_run: dict[tuple[str, str], Section], pretrain: str, suite: str
) -> None:
    """Nothing but what a harness that seeds its searches and reads the test set once can't have
    alike, and what `full` has not."""
    left = {method: phrases(vpt_run[pretrain, suite], method) for method in LEFT[pretrain, suite]}
    assert left == {method: list(expected) for method, expected in LEFT[pretrain, suite].items()}


@pytest.mark.parametrize("pretrain", ["MAE-IN1k", "MoCov3-IN1k"])
def test_fgvc_with_other_weights_are_other_peoples_runs(
    vpt_run: dict[tuple[str, str], Section], pretrain: str
) -> None:
    """Of GateVPT, whose recipe is known in part; of `full` nobody says whose run it was."""
    part = vpt_run[pretrain, "fgvc"]
    assert phrases(part, "full") == ["how it was made: not known for its source"]
    *known, unknown = phrases(part, "vpt")
    assert "weight decays: 0/0.0001/0.001/0.01 here, 0 there" in known
    assert "dropout: 0 here, 0.1 there" in known
    assert unknown.endswith(": not known for its source")
    assert {"pixels", "batch size", "head's initial weights", "final runs train on"} <= set(
        unknown.partition(":")[0].split(", ")
    )


def test_of_each_method_of_ours_its_dropout_is_known() -> None:
    """By its argument, or as a method that has none."""
    for name, entry in registered().items():
        if entry.value.startswith("methods."):
            takes = "dropout" in signature(entry.load()).parameters
            assert takes != (name in _WITHOUT_DROPOUT), name


def test_partial_1_trains_the_last_norm_but_with_moco_v3() -> None:
    ours = {
        pretrain: section(pretrain, methods="partial-k,pfeiffer")
        for pretrain in ("sup-IN21k", "MAE-IN1k", "MoCov3-IN1k")
    }
    rest = {ADAMW, SEARCH, TEST}
    norm = "method there: the last norm is trained too, as by partial-k(norm=true)"
    assert set(phrases(ours["sup-IN21k"], "Partial-1")) - rest == {norm}
    trained = "features: vpt-mae here, vpt-mae, its norm trained there"
    assert set(phrases(ours["MAE-IN1k"], "Partial-1")) - rest == {trained}
    assert set(phrases(ours["MoCov3-IN1k"], "Partial-1")) - rest == set()
    adapter = phrases(ours["MoCov3-IN1k"], "Adapter(VPT paper)")
    assert "batch size: 64 here, 384 there" in adapter, "compared with pfeiffer's rows alone"


@pytest.mark.parametrize("pretrain", ["MAE-IN1k", "MoCov3-IN1k"])
def test_methods_that_papers_call_otherwise_are_compared_with_their_own_rows(pretrain: str) -> None:
    """Beside `vpt-deep`, whose facts are others."""
    part = section(pretrain, methods="gate-vpt,self-prompt,da-vpt,vpt-deep")
    gate, shallow, deep, plus = (
        phrases(part, method) for method in ("GateVPT", "SPT-Shallow", "SPT-Deep", "DA-VPT+")
    )
    assert not any(phrase.startswith(("weight decays", "features")) for phrase in gate), (
        "gate-vpt's weight decay and features are those of its release"
    )
    assert "method: deep=true here, deep=false there" in shallow
    assert "method: plus=false here, plus=true there" in plus
    assert not any(phrase.startswith("method: deep") for phrase in deep)
    for same in (shallow, deep):
        assert not any("by the method here" in phrase for phrase in same)
        assert not any(phrase.startswith(("dropout", "optimiser")) for phrase in same)
    both = section(pretrain, methods="self-prompt,self-prompt(deep=false,prompts=100)")
    lengths = [
        phrase
        for method in ("SPT-Shallow", "SPT-Deep")
        for phrase in phrases(both, method)
        if phrase.startswith("method: deep")
    ]
    assert lengths == []


def test_gatevpts_own_runs_of_vpt_have_maes_features_by_its_norm() -> None:
    part = section("MAE-IN1k", "fgvc", methods="gate-vpt,vpt")
    said = "features: vpt-mae here, vpt-mae, by the checkpoint's norm there"
    assert said in phrases(part, "vpt")
    assert said not in phrases(part, "GateVPT")


def test_by_protocol_default_each_difference_is_named() -> None:
    part = section(protocol="default", precision="bf16 autocast")
    found = {method: set(phrases(part, method)) for method in ("linear", "vpt-deep", "BitFit")}
    search = "search: 10 points by tpe, poor ones pruned from epoch 40 on here, whole grid there"
    shared = {search, SEARCH, TEST, "arithmetic: bf16 autocast here, fp32 there"}
    rates = "learning rates at batch 256: 0.05 to 50 (log) here, 10 values from 0.05 to 50 there"
    assert found["linear"] == {*shared, rates}
    lengths = "prompt lengths: 10/50 here, 1/5/10/50/100/200 there"
    assert found["vpt-deep"] == {
        *shared,
        rates,
        lengths,
        "batch size: 128 here, 128; 64 where prompts is at least 100 there",
    }
    assert found["BitFit"] == {*shared, ADAMW}


def test_by_protocol_mini_each_difference_is_named() -> None:
    found = phrases(section(protocol="mini", pixels="pil", normalize=NONE), "vpt-deep")
    titles = [phrase.partition(":")[0] for phrase in found]
    assert titles == [
        *(
            "pixels",
            "pixel statistics",
            "dropout",
            "optimiser",
            "batch size",
            "learning rates at batch 256",
            "weight decays",
        ),
        *(
            "prompt lengths",
            "search",
            "seed of the search",
            "epochs",
            "warm-up epochs",
            "first epoch's learning rate",
            "head's initial weights",
        ),
        *("test set", "seeds"),
    ]
    assert "pixel statistics: none here, imagenet there" in found
    assert "head's initial weights: xavier_uniform here, kaiming_normal there" in found
    assert "first epoch's learning rate: one step of the warm-up here, 0 there" in found
    assert (
        "optimiser: adamw (eps 1e-08, decay before the step) here, sgd (momentum 0.9) there"
        in found
    )


def test_one_change_is_one_phrase(vpt_run: dict[tuple[str, str], Section]) -> None:
    """Each that a row's identity or provenance knows, one by one."""
    for changed, phrase in (
        (section(methods="vpt-deep(dropout=0.0)"), "dropout: 0 here, 0.1 there"),
        (
            section(methods="vpt-deep(prompts=10)"),
            "prompt lengths: 10 here, 1/5/10/50/100/200 there",
        ),
        (
            section(methods="vpt-deep", precision="bf16 autocast"),
            "arithmetic: bf16 autocast here, fp32 there",
        ),
        (section(methods="vpt-deep", pixels="pil"), "pixels: pil here, tf there"),
        (section(methods="vpt-deep", pooling="avg"), "features: avg here, cls there"),
        (
            section(methods="vpt-deep", normalize=NONE),
            "pixel statistics: none here, imagenet there",
        ),
    ):
        assert set(phrases(changed, "vpt-deep")) - set(
            phrases(vpt_run["sup-IN21k", "vtab"], "vpt-deep")
        ) >= {phrase}


def test_beside_osus_rows_its_recipe_is_named() -> None:
    part = section(methods="vpt-deep,linear,lora")
    found = phrases(part, "vpt-deep(OSU)")
    for phrase in (
        *(
            "pixels: tf here, pil there",
            "pixel statistics: imagenet here, none there",
            "drop-path: 0 here, 0.1 there",
        ),
        *(
            "spared from weight decay: the head's bias here, nothing there",
            "seeds: 5 here, 1 there",
        ),
        "head's initial weights: kaiming_normal here, torch's default there",
        "lowest learning rate: 0 here, 1e-05 there",
    ):
        assert phrase in found
    assert any(
        phrase.startswith("method there: one A and one B for query, key and value together")
        for phrase in phrases(part, "LoRA(NOAH)")
    )
    assert "reported: last epoch here, best on test there" in phrases(part, "LoRA(NOAH)")
    assert "dropout: 0 here, 0.1 there" in phrases(part, "LoRA(NOAH)")
    released, paper = (
        section(methods=method) for method in ("adaptformer", "adaptformer(dropout=0.0,form=paper)")
    )
    assert not any(phrase.startswith("dropout") for phrase in phrases(released, "AdaptFormer(OSU)"))
    assert "dropout: 0 here, 0.1 there" in phrases(paper, "AdaptFormer(OSU)")


def test_a_row_that_lacks_a_field_is_not_taken_for_equal(filler: Any) -> None:
    """As stores of before hold them: no protocol for one cell alone, no arguments, no precision."""
    backbone = BACKBONES["sup-IN21k"][0]
    for task in load_suites()["vtab"].tasks:
        filler.results(
            filler.cell("vpt-deep", task, suite="vtab", backbone=backbone, pixels="tf"), [50.0] * 5
        )
    (part,) = sections(leaderboard(read(filler.store)), None, None)
    found = phrases(part, "vpt-deep")
    for phrase in (
        *(
            "dropout: 0.1 there",
            "batch size: 128; 64 where prompts is at least 100 there",
            "optimiser: sgd (momentum 0.9) there",
        ),
        *(
            "head's initial weights: kaiming_normal there",
            "final runs train on: train+val there",
            "image side: 224 there",
        ),
        *(
            "first epoch's learning rate: 0 there",
            "search: whole grid there",
            "arithmetic: fp32 there",
        ),
    ):
        assert f"{phrase}, not recorded here" in found


@pytest.mark.parametrize(
    "odd",
    [
        [],
        {"batch_size": [1]},
        {"override": [3], "optimizer": None, "batch_size": {}},
        {"override": {"when": 3}},
    ],
)
def test_a_strangers_store_may_hold_anything(filler: Any, odd: Any) -> None:
    key = filler.cell(
        "vpt-deep",
        "cifar100",
        suite="vtab",
        backbone=BACKBONES["sup-IN21k"][0],
        protocol={"x": 1, **dict(odd)},
    )
    filler.results(key, [50.0])
    (part,) = sections(leaderboard(read(filler.store)), None, None)
    assert "prompt lengths: 1/5/10/50/100/200 there, not recorded here" in phrases(part, "vpt-deep")


def test_every_recipe_is_of_rows_that_are_there() -> None:
    sources = {number.source for number in published()}
    for recipe in source_setups():
        assert any(source.startswith(recipe.sources) for source in sources), recipe.name
        assert all(
            sum(source.startswith(other.sources) for other in source_setups()) <= 1
            for source in sources
        )
    methods = {number.method for number in published()}
    named = {pattern for recipe in source_setups() for of in recipe.of for pattern in of.methods}
    assert named - {"*"} <= methods
    assert setup_of_source("a paper") is None
    nobodys = {source for source in sources if "whose run" in source}
    assert len(nobodys) >= 3
    assert not [source for source in nobodys if setup_of_source(source)], (
        "of a run that nobody owns no recipe is known"
    )


def test_of_a_whole_recipe_nothing_is_left_unknown() -> None:
    """VPT's, which protocol `vpt` follows: each fact is there for each number, but where the method
    isn't another than ours."""
    (vpt,) = (recipe for recipe in source_setups() if recipe.name == "VPT")
    vtab, fgvc = (load_suites()[suite].tasks for suite in PIXELS)
    for pretrain in BACKBONES.keys() - {"Swin-B"}:
        for method in ("linear", "vpt", "vpt-deep", "full", "BitFit", "Partial-1"):
            for task in (*vtab, *fgvc):
                facts = vpt.at(method, task, "ViT-B/16", pretrain)
                missing = {name for name, value in facts if value is None}
                assert missing <= {"form"}, (method, task, pretrain)


def test_grids_of_the_same_ends_are_told_apart() -> None:
    one, other = (
        Setup.model_validate({"base_lr": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 9.0)}),
        Setup.model_validate({"base_lr": (1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 9.0)}),
    )
    assert setup_differences({"dtd": [one]}, {"dtd": other}) == [
        "learning rates at batch 256: 1/2/3/4/5/6/9 here, 1/2/3/4/5/7/9 there"
    ]
    assert setup_differences({"dtd": [one]}, {"dtd": one}) == []
    assert setup_differences({"dtd": [one]}, {"svhn": other}) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[recipe]]\nname = 'x'\n", "sources"),
        (
            (
                "[[recipe]]\nname = 'x'\nsources = ['y']\nread = 'in a place that has a"
                " name'\nfacts = { colour = 1 }\n"
            ),
            "facts.colour",
        ),
        ("recipe = 3\n", "recipe: Input should be a valid tuple"),
        ("[[", "can't be read"),
    ],
)
def test_a_file_with_a_fault_is_said(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "recipes.toml").write_text(text)
    with pytest.raises(BadInput, match=r"recipes\.toml") as caught:
        source_setups(tmp_path / "recipes.toml")
    assert said in str(caught.value)


def test_a_run_by_petl_differs_from_osus_rows_in_this_alone():
    """With pixels resized by Pillow, as theirs are."""
    part = section(
        protocol="petl", methods="linear,full,ssf,vpt,vpt-deep", pixels="pil", normalize=NONE
    )
    rest = [
        "spared from weight decay: all 1-d tensors here, nothing there",
        "seed of the search: 0 here, 42 there",
        TEST,
        ONE_RUN,
    ]
    for method in ("full(OSU)", "SSF(OSU)", "vpt(OSU)", "vpt-deep(OSU)"):
        assert phrases(part, method) == rest, method
    assert phrases(part, "linear(OSU)") == ["drop-path: 0 here, 0.1 there", *rest]


def test_given_settings_are_no_search():
    """Nothing of a search is said of them, and their values are."""
    from harness.planning.known import table

    store, card = Store("sqlite://"), load_cards()["cifar100"]
    name, pooled = BACKBONES["sup-IN21k"]
    vit: Any = SimpleNamespace(patch_size=(16, 16))
    backbone = Backbone(name, "ab" * 32, pooled, 224, IMAGENET, vit, "timm's hub")
    request, petl = Request(hparams="osu"), protocols.load("petl")
    (deep,) = parse("vpt-deep")
    cell = plan_cell(card, request, "d" * 64, deep, name, backbone, petl, NONE, known=table("osu"))
    assert cell.cell.labels["protocol"] == "petl+osu"
    store.add_cell(cell.cell)
    made = {"precision": "fp32"}
    of_run = (5.0, 9, 9, "e" * 64, 1.0, 1, 1.0, {}, made, "2026-01-01")
    for seed in cell.seeds:
        id = result_id(cell.key, seed)
        store.add_result(Result(id, cell.key, seed, dict(cell.protocol.fixed), *of_run))
    (found,) = sections(leaderboard(read(store)), None, None)
    said = phrases(found, "vpt-deep(OSU)")
    assert "search: nothing is searched here, whole grid there" in said
    assert "learning rates at batch 256: 0.004 here, 0.004/0.04 there" in said
    assert "prompt lengths: 5 here, 5/10/50/100 there" in said
    assert "seed of the search: no search here, 42 there" in said
