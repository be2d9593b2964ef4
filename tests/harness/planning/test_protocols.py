"""Protocols: what the files say, what of it holds for a cell, and what of it is identity."""

import re
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from places import REPOSITORY

from harness.errors import BadInput
from harness.planning import protocols
from harness.planning.protocols import Protocol, Segmentation, Settings
from harness.planning.search_space import search_size, search_space
from harness.planning.variants import parse
from harness.store import cell_key
from harness.training.method import ADAMW_RATES

IN21K, MAE = "vit_base_patch16_224.orig_in21k", "vit_base_patch16_224.mae"
CELLS = [
    (label, suite, backbone)
    for label in (
        "linear",
        "vpt",
        "vpt-deep",
        "ivpt",
        "full",
        "bitfit",
        "lora",
        "adaptformer",
        "ssf",
    )
    for suite in ("vtab", "fgvc")
    for backbone in (IN21K, MAE)
]


def cell(protocol: Settings, label: str, suite: str = "vtab", backbone: str = IN21K) -> Any:
    (variant,) = parse(label, also=("base_lr", "weight_decay"))
    own = protocol.for_cell(variant, suite, backbone, "train+val")
    return own.within(search_space(variant, own))


def searched(
    protocol: Settings, label: str, suite: str = "vtab", backbone: str = IN21K
) -> dict[str, tuple]:
    (variant,) = parse(label)
    return {
        name: cast("CategoricalDistribution", of).choices
        for name, of in search_space(variant, cell(protocol, label, suite, backbone)).items()
    }


def test_vpt_searches_what_the_released_scripts_do():
    """tune_vtab.py's and tune_fgvc.py's ranges: prompt, linear, linear_mae and finetune."""
    vpt, ten = protocols.load("vpt"), [50.0, 25.0, 10.0, 5.0, 2.5, 1.0, 0.5, 0.25, 0.1, 0.05]
    for suite, backbone, prompts, linear in (
        ("vtab", IN21K, ten, ten),
        ("fgvc", IN21K, ten[:-1], ten),
        ("vtab", MAE, ten, [*ten, 0.025, 0.005, 0.0025]),
        ("fgvc", MAE, ten[:-1], [*ten, 0.025, 0.005, 0.0025]),
    ):
        for label in ("vpt", "vpt-deep", "ivpt"):
            found = searched(vpt, label, suite, backbone)
            assert found == {
                "prompts": (1, 5, 10, 50, 100, 200),
                "base_lr": tuple(prompts),
                "weight_decay": (0.01, 0.001, 0.0001, 0.0),
            }
        assert searched(vpt, "linear", suite, backbone) == {
            "base_lr": tuple(linear),
            "weight_decay": (0.01, 0.001, 0.0001, 0.0),
        }
        for label in ("full", "bitfit"):
            found = searched(vpt, label, suite, backbone)
            assert (set(found["base_lr"]), found["weight_decay"]) == (
                {0.001, 0.0001, 0.0005, 0.005},
                (0.01, 0.0),
            )
    assert searched(vpt, "vpt-deep(prompts=5)").keys() == {"base_lr", "weight_decay"}
    # a method's own, which no override names
    assert searched(vpt, "lora")["base_lr"] == ADAMW_RATES.choices


def test_vpt_trains_as_the_released_configs_and_commands_do():
    vpt = protocols.load("vpt")
    assert (vpt.epochs, vpt.momentum, vpt.seeds, vpt.score_at()) == (
        100,
        0.9,
        (42, 44, 82, 100, 800),
        (100,),
    )
    for label, suite, backbone in CELLS:
        own = cell(vpt, label, suite, backbone)
        assert own.train_on == ("train" if suite == "fgvc" else "train+val")
        assert (own.warmup_from_zero, own.head_init, own.epochs) == (True, "kaiming_normal", 100)
        assert own.warmup_epochs == (5 if label in ("full", "bitfit") else 10)
    for label in ("vpt", "vpt-deep", "ivpt"):
        sizes = {
            prompts: cell(vpt, label).at({"prompts": prompts, "base_lr": 1.0}).batch_size
            for prompts in (1, 5, 10, 50, 100, 200)
        }
        assert sizes == {1: 128, 5: 128, 10: 128, 50: 128, 100: 64, 200: 64}
        assert (cell(vpt, label).optimizer, cell(vpt, label).no_decay) == ("sgd", "head")
    assert [cell(vpt, f"vpt-deep(prompts={prompts})").batch_size for prompts in (99, 100)] == [
        128,
        64,
    ]
    assert (cell(vpt, "linear").batch_size, cell(vpt, "linear").optimizer) == (1024, "sgd")
    for label in ("full", "bitfit"):
        own = cell(vpt, label)
        assert (own.batch_size, own.eps, own.no_decay) == (384, 1e-6, "biases")
        assert [own.at({"weight_decay": decay}).optimizer for decay in (0.01, 0.0)] == [
            "adamw",
            "sgd",
        ]
    assert cell(vpt, "full(weight_decay=0.0)").optimizer == "sgd"


@pytest.mark.parametrize("name", ["default", "mini"])
def test_each_difference_to_vpt_is_a_line_of_the_file(name: str):
    """Cell by cell and field by field; a line that names one is `FIELD = ... # vpt: ...`."""
    apart: set[str] = set()
    for kind, cells in (
        ("classification", CELLS),
        ("segmentation", [(label, "segmentation", IN21K) for label, _, _ in CELLS]),
    ):
        for label, suite, backbone in cells:
            (variant,) = parse(label)
            ours, vpts = (
                flat(
                    protocols.load(one).of(kind).for_cell(variant, suite, backbone, "train+val"),
                    kind,
                )
                for one in (name, "vpt")
            )
            apart |= {
                field for field in ours.keys() | vpts.keys() if ours.get(field) != vpts.get(field)
            }
    named, table = set(), ""
    for line in (Path(protocols.__file__).parent / f"{name}.toml").read_text().splitlines():
        if heading := re.match(r"\[+([\w.]+)\]", line):
            table = heading[1].replace("override.", "") + "."
        elif found := re.match(r"(\w+) = .* # vpt: \S", line):
            named.add(table + found[1])
    assert named == apart


def flat(own: Settings, kind: str) -> dict[str, Any]:
    """Fields that numbers depend on, a table's entries each by itself, as paths in a file; with
    what they are at points of the search."""
    fields: dict[str, Any] = own.identity() | {
        "seeds": own.seeds,
        "multi_scale": getattr(own, "multi_scale", None),
    }
    for override in fields.pop("override"):
        when = override.pop("when")
        for field, value in override.items():
            fields[field] = (fields[field], when, value)
    for table in ("space", "method_space", "method_arguments"):
        fields |= {f"{table}.{name}": value for name, value in fields.pop(table).items()}
    return (
        fields
        if kind == "classification"
        else {f"{kind}.{field}": value for field, value in fields.items()}
    )


def test_default_searches_one_range_for_all_that_vpt_gives_the_rates_of_prompts(tmp_path: Path):
    """A method of a user's own too, which no file names; FGVC's nine rates are vpt's alone."""
    text = (
        "from harness.training.method import Method\n\n\nclass Mine(Method):\n    name = 'mine'\n"
    )
    (tmp_path / "mine.py").write_text(text)
    default = protocols.load("default")
    for label in (f"{tmp_path}/mine.py:Mine", "linear", "vpt", "vpt-deep", "ivpt"):
        (variant,) = parse(label)
        for suite in ("vtab", "fgvc", "own"):
            for backbone in (IN21K, MAE):
                rates = search_space(
                    variant, default.for_cell(variant, suite, backbone, "train+val")
                )["base_lr"]
                assert rates == FloatDistribution(0.05, 50.0, log=True), (label, suite, backbone)


def test_every_shipped_protocol_loads():
    assert protocols.names() == ["default", "mini", "petl", "vpt"]
    for name in protocols.names():
        assert protocols.load(name).score_at()[-1] == protocols.load(name).epochs


def test_seeds_and_titles_are_no_identity_and_trials_are():
    assert protocols.load("default", trials=3).identity() != protocols.load("default").identity()
    changed = protocols.load("default").model_copy(update={"seeds": (1,), "title": "x"})
    assert changed.identity() == protocols.load("default").identity()


MINE = """
title = "mine"
optimizer = "sgd"
epochs = 8
warmup_epochs = 2
batch_size = 16
seeds = [0]
sampler = "grid"
space.base_lr = { choices = [1.0, 2.0] }
space.weight_decay = { choices = [0.0, 0.1] }
"""


@pytest.fixture
def mine(tmp_path: Path):
    def load(*overrides: str, first: str = MINE) -> Any:
        (tmp_path / "mine.toml").write_text(
            first + "".join(f"\n[[override]]\n{text}\n" for text in overrides)
        )
        return protocols.load(str(tmp_path / "mine.toml"))

    return load


def test_what_an_override_says_of_one_cell_moves_no_others_key(mine):
    def keys(*overrides: str) -> list[str]:
        loaded = mine(*overrides)
        return [cell_key(cell(loaded, *of).identity()) for of in CELLS]

    plain = keys()
    for override, moved in (
        ('method = "full"\nbatch_size = 8', lambda label, suite, backbone: label == "full"),
        ('suite = "fgvc"\ntrain_on = "train"', lambda label, suite, backbone: suite == "fgvc"),
        (
            'method = ["vpt*", "linear"]\nbackbone = "*.mae"\nepochs = 9',
            lambda label, _, backbone: backbone == MAE and label[0] in "lv",
        ),
        (
            "when = { prompts = { at_least = 100 } }\nbatch_size = 8",
            lambda label, suite, backbone: label in ("vpt", "vpt-deep", "ivpt"),
        ),
        # a length that no search chooses
        ("when = { prompts = 7 }\nbatch_size = 8", lambda *_: False),
        (
            'method = "ivpt"\nmethod_arguments = { dropout = 0.5 }',
            lambda label, suite, backbone: label == "ivpt",
        ),
    ):
        changed = [
            of
            for of, before, after in zip(CELLS, plain, keys(override), strict=True)
            if before != after
        ]
        expected = [of for of in CELLS if moved(*of)]
        if "vpt*" in override:
            expected = [of for of in expected if of[0] in ("vpt", "vpt-deep", "linear")]
        assert changed == expected, override


def test_the_last_override_wins_and_a_methods_class_stands_between_patterns_and_its_name(mine):
    loaded = mine(
        'optimizer = "sgd"\nbatch_size = 8\nspace.base_lr = { choices = [9.0] }',
        'method = "ss*"\nbatch_size = 4',
        'method = "lora"\noptimizer = "sgd"\nspace.base_lr = { choices = [7.0] }',
    )
    ssf, lora, deep = (cell(loaded, label) for label in ("ssf", "lora", "vpt-deep"))
    assert (ssf.batch_size, ssf.optimizer, searched(loaded, "ssf")["base_lr"]) == (
        4,
        "adamw",
        ADAMW_RATES.choices,
    )
    assert (lora.batch_size, lora.optimizer, searched(loaded, "lora")["base_lr"]) == (
        8,
        "sgd",
        (7.0,),
    )
    assert (deep.batch_size, searched(loaded, "vpt-deep")["base_lr"]) == (8, (9.0,))
    assert searched(loaded, "vpt-deep")["weight_decay"] == (0.0, 0.1)


def test_an_argument_that_is_fixed_is_searched_no_more_and_a_variant_wins(mine):
    loaded = mine('method = ["vpt", "vpt-deep"]\nmethod_arguments = { prompts = 3, dropout = 0.5 }')
    deep, fixed = cell(loaded, "vpt-deep"), cell(loaded, "vpt-deep(prompts=5)")
    assert (deep.method_arguments, "prompts" in searched(loaded, "vpt-deep")) == (
        {"prompts": 3, "dropout": 0.5},
        False,
    )
    assert fixed.method_arguments == {"dropout": 0.5}
    with pytest.raises(BadInput, match="protocol mine: linear has no argument 'dropout'"):
        cell(mine('method = "*"\nmethod_arguments = { dropout = 0.5 }'), "linear")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            'method = "full"\nbatch_sise = 3',
            "override 1: batch_sise: unknown key. Did you mean 'batch_size'",
        ),
        (
            'method = "full"\nbatch_size = 0',
            "override 1: batch_size: Input should be greater than 0",
        ),
        ("method = 3\nbatch_size = 1", "override.0.method"),
        ("trials = 3", "override 1: trials: is the same for all"),
        (
            "when = { prompts = 5 }\nepochs = 3",
            "override 1: epochs: can't depend on a point of the search",
        ),
        ("when = { prompts = { atleast = 5 } }\nbatch_size = 3", "override.0.when.prompts"),
        ("space.lr = { choices = [1.0] }", "override 1: space.lr"),
    ],
)
def test_a_wrong_override_is_one_line_with_file_and_key(mine, override: str, message: str):
    with pytest.raises(BadInput) as caught:
        mine(override)
    assert message in str(caught.value)
    assert str(caught.value).startswith("protocol ")
    assert "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_may_extend_another_one(mine, tmp_path: Path):
    loaded = mine(
        first=(
            'extends = "vpt"\ntitle = "fewer"\ntrials = 3\nspace.base_lr = { choices = [1.0]'
            " }\n[segmentation]\niterations = 9\n"
        )
    )
    vpt = protocols.load("vpt")
    assert (loaded.trials, loaded.title, loaded.epochs, loaded.override, loaded.name) == (
        3,
        "fewer",
        100,
        vpt.override,
        "mine",
    )
    assert (loaded.space["base_lr"].choices, loaded.space["weight_decay"]) == (
        (1.0,),
        vpt.space["weight_decay"],
    )
    assert (loaded.of("segmentation").iterations, loaded.of("segmentation").power) == (9, 0.9)
    with pytest.raises(BadInput, match=r"extends: mine\.toml extends this one"):
        mine(first='extends = "mine.toml"\n' + MINE)
    with pytest.raises(BadInput, match="unknown protocol 'vtp'"):
        mine(first='extends = "vtp"\n')


def test_the_example_of_the_docs_is_one(mine):
    page = (REPOSITORY / "docs" / "protocols.md").read_text()
    example, run = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert tomllib.loads(run)["suite"] == "vtab"  # flags of a run, not a protocol
    loaded = mine(first=example)
    assert (
        cell(loaded, "vpt", "fgvc").batch_size,
        cell(loaded, "vpt").batch_size,
        loaded.seeds,
    ) == (32, 128, (0, 1, 2))
    of_a_cell = {"fixed", "start"}  # which a file may not set
    for name in set(Protocol.model_fields) - {"name", "title"} - of_a_cell:
        assert f"`{name}`" in page or f"`[{name}]`" in page or f"`[[{name}]]`" in page, name


GRID = [50.0, 25.0, 10.0, 5.0, 2.5, 1.0, 0.5, 0.25, 0.1, 0.05]
OLD = {
    **{
        "optimizer": "sgd",
        "epochs": 100,
        "warmup_epochs": 10,
        "batch_size": 64,
        "sampler": "grid",
        "trials": None,
        "pruner": "none",
    },
    **{"score_every": None, "prune_from": 0, "method_space": {}},
    "space": {
        "base_lr": {"choices": GRID},
        "weight_decay": {"choices": [0.01, 0.001, 0.0001, 0.0]},
    },
}
"""What protocol vpt was before overrides, as a row's identity."""


def test_a_stored_identity_of_before_keeps_its_key_and_its_meaning():
    assert cell_key(OLD) == "94b9573e54f76175fc2b229c5efa0f6067c2b6b0d0bdd7b0a273eb0c2107c71e"
    for label, optimizer in (
        ("linear", "sgd"),
        ("bitfit", "sgd"),
        ("lora", "adamw"),
        ("full", "adamw"),
    ):
        own = cell(protocols.stored("classification", "vpt", 1, OLD), label)
        assert cell_key(own.identity()) == cell_key(OLD)
        assert (own.optimizer, own.batch_size, own.head_init, own.warmup_from_zero) == (
            optimizer,
            64,
            "xavier_uniform",
            False,
        )
        assert (own.eps, own.momentum, own.no_decay, own.method_arguments, own.train_on) == (
            1e-8,
            0.9,
            "head",
            {},
            None,
        )


def test_a_file_of_before_means_what_it_meant(mine):
    """MINE has the fields alone that a protocol always had."""
    own = cell(mine(), "linear")
    assert (own.head_init, own.warmup_from_zero, own.no_decay, own.eps, own.momentum) == (
        "xavier_uniform",
        False,
        "head",
        1e-8,
        0.9,
    )
    assert (own.train_on, own.normalize, own.override, own.method_arguments) == (
        "train+val",
        "imagenet",
        (),
        {},
    )


def test_a_stored_identity_of_now_is_read_back_as_it_was():
    for label, suite, backbone in CELLS:
        own = cell(protocols.load("default"), label, suite, backbone)
        again = cell(
            protocols.stored("classification", "default", 1, own.identity()), label, suite, backbone
        )
        assert again.identity() == own.identity()
        assert again.model_dump(exclude={"title", "seeds"}) == own.model_dump(
            exclude={"title", "seeds"}
        )


def test_segmentation_has_a_protocol_of_its_own_with_seeds_and_title_where_it_says_so():
    vpt = protocols.load("vpt").of("segmentation")
    assert isinstance(vpt, Segmentation)
    assert (vpt.iterations, vpt.batch_size, vpt.optimizer, vpt.weight_decay) == (
        160_000,
        16,
        "sgd",
        0.0,
    )
    assert vpt.base_lr * vpt.batch_size / 256 == 0.001
    assert (vpt.head_factor, vpt.power, vpt.lowest_lr) == (10.0, 0.9, 0.0001)
    assert (vpt.name, vpt.score_at()) == ("vpt", (160_000,))
    variants = parse("linear,vpt-deep,vpt-deep(prompts=5),lora")
    assert [search_size(search_space(variant, vpt), vpt) for variant in variants] == [0, 6, 0, 12]
    mini = protocols.load("mini", trials=7).of("segmentation")
    assert (mini.seeds, mini.trials, mini.score_at()) == ((0, 1, 2), 7, (80, 160, 240, 320))
    assert protocols.load("mini").of("classification").seeds == (0, 1, 2)
    many = vpt.model_copy(update={"multi_scale": False, "seeds": (1,), "title": "x"})
    assert many.identity() == vpt.identity()
    assert vpt.model_copy(update={"iterations": 5}).identity() != vpt.identity()


def test_a_protocol_without_the_table_is_refused_for_segmentation():
    with pytest.raises(BadInput, match=r"protocol vpt has no table \[segmentation\]"):
        protocols.load("vpt").model_copy(update={"segmentation": None}).of("segmentation")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = ", "can't be read"),
        ('title = "x"\nepoch = 3\n', "unknown key 'epoch'. Did you mean 'epochs'"),
        (None, "unknown protocol"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: str | None, message: str):
    file = tmp_path / "mine.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        protocols.load(str(file))
    assert "\n" not in str(caught.value)


def test_a_grid_over_a_range_is_refused():
    with pytest.raises(BadInput, match="base_lr is a range"):
        protocols.grid({k: v.distribution() for k, v in protocols.load("default").space.items()})


@pytest.mark.parametrize(
    ("inside", "points"),
    [
        ("", 600),
        ("prune=true", 48_600),
        ("prune=true,prompts=10,kv_prompts=5,base_lr=5.0,weight_decay=0.001", 81),
    ],
)
def test_the_pairs_of_e2vpt_are_a_second_search(inside: str, points: int):
    """As docs/protocols.md counts them."""
    (variant,) = parse(f"e2vpt({inside})", also=("base_lr", "weight_decay"))
    vpt = protocols.load("vpt")
    assert search_size(search_space(variant, vpt), vpt) == points
    page = (Path(__file__).parents[3] / "docs" / "protocols.md").read_text()
    assert f"{points:,} points" in page or f"{points} pairs" in page
