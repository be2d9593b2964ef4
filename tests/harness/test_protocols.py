"""Protocols: what the files say, and what of it is identity."""

from pathlib import Path

import pytest

from harness import protocols
from harness.errors import BadInput
from harness.plan import search_size, search_space
from harness.protocols import Segmentation
from harness.store import cell_key
from harness.variants import parse


def test_the_vpt_protocol_is_the_papers():
    vpt = protocols.load("vpt")
    assert (vpt.optimizer, vpt.epochs, vpt.warmup_epochs, vpt.seeds) == ("sgd", 100, 10, (42, 44, 82, 100, 800))
    linear, deep, fixed = parse("linear,vpt-deep,vpt-deep(prompts=5)")
    sizes = [len(protocols.grid(search_space(variant, vpt))) for variant in (linear, deep, fixed)]
    assert sizes == [40, 240, 40]
    assert vpt.score_at() == (100,)


def test_every_shipped_protocol_loads():
    assert protocols.names() == ["default", "mini", "vpt"]
    for name in protocols.names():
        assert protocols.load(name).score_at()[-1] == protocols.load(name).epochs


def test_seeds_and_titles_are_no_identity_and_trials_are():
    assert protocols.load("default", trials=3).identity() != protocols.load("default").identity()
    changed = protocols.load("default").model_copy(update={"seeds": (1,), "title": "x"})
    assert changed.identity() == protocols.load("default").identity()


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("default", "a30170ab5eb6e93b3e01f0b005289bc935796f482ed965061c9bf8c84e873bd0"),
        ("mini", "2bdb7393d2ee18c30cfd74027029d31f9806b30a5859ed20a70b7fbcdb1175bd"),
        ("vpt", "94b9573e54f76175fc2b229c5efa0f6067c2b6b0d0bdd7b0a273eb0c2107c71e"),
    ],
)
def test_what_a_protocol_says_of_segmentation_moves_no_key_of_classification(name: str, key: str):
    """Keys from before there was a table [segmentation]."""
    protocol = protocols.load(name)
    assert cell_key(protocol.identity()) == key
    assert cell_key(protocol.model_copy(update={"segmentation": None}).identity()) == key


def test_segmentation_has_a_protocol_of_its_own_with_seeds_and_title_where_it_says_so():
    vpt = protocols.load("vpt").of("segmentation")
    assert isinstance(vpt, Segmentation)
    assert (vpt.iterations, vpt.batch_size, vpt.optimizer, vpt.weight_decay) == (160_000, 16, "sgd", 0.0)
    assert vpt.base_lr * vpt.batch_size / 256 == 0.001
    assert (vpt.head_factor, vpt.power, vpt.lowest_lr) == (10.0, 0.9, 0.0001)
    assert (vpt.name, vpt.score_at()) == ("vpt", (160_000,))
    linear, deep, fixed, lora = parse("linear,vpt-deep,vpt-deep(prompts=5),lora")
    assert [search_size(search_space(variant, vpt), vpt) for variant in (linear, deep, fixed, lora)] == [0, 6, 0, 12]
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
    [("epochs = ", "syntax"), ('title = "x"\nepoch = 3\n', "epoch: Extra inputs"), (None, "unknown protocol")],
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
