import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.io.resources import datasets_dir, published_csv
from harness.tasks.cards import load_cards, load_suites

CARD = """
name = "tiny"
title = "Tiny"
suite = "mine"
group = "natural"
kind = "classification"
classes = 3
sizes = { train = 6, val = 4, test = 5 }
pixels = "pil"
metric = "top1"
source = "here"
licence = "none"
citation = "none"

[reader]
format = "vtab-folder"
folder = "tiny"
"""


def load(folder: Path, text: str = CARD):
    (folder / "tiny.toml").write_text(text, encoding="utf-8")
    return load_cards(folder)["tiny"]


def refused(folder: Path, text: str) -> str:
    with pytest.raises(BadInput) as error:
        load(folder, text)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_shipped_suites_have_shipped_cards():
    cards, suites = load_cards(), load_suites()
    sizes = {
        "mini": 5,
        "vtab": 19,
        "fgvc": 5,
        "all": 24,
        "ade20k": 1,
        "mini-seg": 1,
        "everything": 25,
    }
    assert {name: len(suite.tasks) for name, suite in suites.items()} == sizes
    assert suites["everything"].tasks == (*suites["all"].tasks, "ade20k")
    assert {name for name, suite in suites.items() if not (suite.backbone and suite.protocol)} == {
        "everything"
    }
    assert set(suites["all"].tasks) == {*suites["vtab"].tasks, *suites["fgvc"].tasks}
    for name in ("vtab", "fgvc", "ade20k"):
        assert {cards[task].suite for task in suites[name].tasks} == {name}
    groups = [cards[task].group for task in suites["vtab"].tasks]
    assert [groups.count(group) for group in ("natural", "specialized", "structured")] == [7, 4, 8]
    assert all(
        (cards[task].sizes["train"], cards[task].sizes["val"]) == (800, 200)
        for task in suites["vtab"].tasks
    )
    assert sum(cards[task].sizes["test"] for task in suites["vtab"].tasks) == 387_904


@pytest.mark.skipif(
    not list((datasets_dir() / "mini").glob("*.toml")),
    reason="the mini cards are not in this checkout",
)
def test_mini_has_its_cards():
    assert set(load_suites()["mini"].tasks) <= load_cards().keys()


def test_slices_agree_with_sizes():
    for card in load_cards().values():
        for split, text in card.slices.items():
            if match := re.fullmatch(r"\w+\[(\d*):(\d+)\]", text):
                assert int(match[2]) - int(match[1] or 0) == card.sizes[split], (card.name, split)  # type: ignore[index]
            else:
                assert re.fullmatch(r"\w+(\[\d+:\])?", text), (card.name, split)


def test_published_numbers_are_of_known_tasks():
    with published_csv().open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["method", "backbone", "pretrain", "task", "metric", "value", "source"]
    assert {
        row["task"] for row in rows if not row["task"].startswith("mean-")
    } <= load_cards().keys()
    assert all(0 < float(row["value"]) < 100 and row["source"] for row in rows)


def test_a_users_card_knows_its_file(tmp_path: Path):
    card = load(tmp_path)
    assert card.path == tmp_path / "tiny.toml"
    assert card.reader.argument("folder", "tiny", str) == "tiny"


def test_digest_is_of_what_can_change_a_score(tmp_path: Path):
    digest = load(tmp_path).digest()
    assert (
        load(
            tmp_path, CARD.replace('title = "Tiny"', 'title = "Small"\nhowto = "draw it"')
        ).digest()
        == digest
    )
    assert load(tmp_path, CARD.replace("test = 5", "test = 6")).digest() != digest
    # the fingerprint holds what it reads
    assert load(tmp_path, CARD.replace('folder = "tiny"', 'folder = "other"')).digest() == digest
    assert load(tmp_path, CARD.replace('pixels = "pil"', 'pixels = "tf"')).digest() != digest


def test_a_segmentation_cards_crop_is_part_of_its_digest_and_other_digests_are_as_before():
    cards = load_cards()
    assert (
        cards["cifar100"].digest()
        == "efd50d743493aa26401349f90170116ab9e6bf87907036801d7388b49bcc9808"
    )
    assert (
        cards["cub200_2011"].digest()
        == "bc95e681248002a6c7004e38563dc6dd38a4d346781316eff58ab873b8f2aedd"
    )
    ade = cards["ade20k"]
    assert ade.model_copy(update={"crop": 640}).digest() != ade.digest()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("classes = 3", "clases = 3", "unknown key 'clases'. Did you mean 'classes'?"),
        (
            "classes = 3",
            'classes = 3\nclasss = "x"',
            "unknown key 'classs'. Did you mean 'classes'?",
        ),
        ("classes = 3", "classes = 1", "classes"),
        ("classes = 3", 'classes = 3\npath = "elsewhere"', "path"),
        ('pixels = "pil"', 'pixels = "jpg"', "pixels"),
        ('name = "tiny"', 'name = "Tiny one"', "name"),
        ("val = 4", "val = 0", "sizes"),
        ("val = 4, ", "", "sizes needs val"),
        ("val = 4", "valid = 4", "valid"),
        ('metric = "top1"', 'metric = "miou"', "doesn't score classification: write top1"),
        ('pixels = "pil"', 'pixels = "setr"', "classification has pixels tf, pil, vpt, not setr"),
        ('pixels = "pil"', 'pixels = "pil"\ncrop = 32', "classification has no crop"),
        ('title = "Tiny"', 'title = "Tiny"\nhowto = "one\\ntwo"', "howto"),
        ('format = "vtab-folder"', "", "reader.format"),
        ('title = "Tiny"', 'title = "Tiny', "can't be read"),
    ],
)
def test_a_broken_card_is_one_line_with_file_and_key(tmp_path: Path, old: str, new: str, said: str):
    assert old in CARD
    message = refused(tmp_path, CARD.replace(old, new))
    assert said in message
    assert str(tmp_path / "tiny.toml") in message


def test_a_name_twice_is_refused(tmp_path: Path):
    message = refused(tmp_path, CARD.replace('name = "tiny"', 'name = "cifar100"'))
    assert "'cifar100' is taken" in message


def test_a_cards_folder_must_hold_cards(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(BadInput, match="--cards"):
            load_cards(folder)


def test_a_card_that_is_not_text(tmp_path: Path):
    (tmp_path / "tiny.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(BadInput, match="can't be read"):
        load_cards(tmp_path)


def test_loading_cards_is_light():
    code = (
        "import sys, harness.tasks.cards; harness.tasks.cards.load_cards(); sys.exit('torch' in"
        " sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
