"""FGVC: VPT's lists, and the official files of those who lack them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from scipy.io import savemat
from tiny_fgvc import (
    N,
    card_of,
    write_cars_combined,
    write_cars_devkit,
    write_cub,
    write_dogs,
    write_flowers,
    write_json,
    write_nabirds,
)

from harness.data.readers import check, records, resolve
from harness.data.readers.fgvc_official import MARK
from harness.data.readers.files import in_order
from harness.errors import BadInput
from harness.tasks.cards import Reader

OFFICIAL = {
    "cub": ("cub200_2011", write_cub),
    "nabirds": ("nabirds", write_nabirds),
    "dogs": ("stanford_dogs", write_dogs),
    "cars, combined": ("stanford_cars", write_cars_combined),
    "cars, devkit": ("stanford_cars", write_cars_devkit),
}


@pytest.mark.parametrize(
    ("task", "images"),
    [
        ("cub200_2011", "images"),
        ("nabirds", "images"),
        ("oxford_flowers", ""),
        ("stanford_dogs", "Images"),
        ("stanford_cars", ""),
    ],
)
def test_vpts_lists_are_read_in_their_order(task: str, images: str, tmp_path: Path):
    write_json(tmp_path, task, images)
    write_cub(tmp_path)  # the official files are there too, and aren't used
    card = resolve(card_of(task), tmp_path)
    assert (card.reader.format, card.pixels) == ("fgvc-json", "vpt")
    check(card, tmp_path)
    for split in ("train", "val", "test"):
        found = records(card, tmp_path, split)
        assert [record.key for record in found] == list(
            json.loads((tmp_path / task / f"{split}.json").read_text())
        )
        assert [record.label for record in found] == [
            {0: 0, 1: 2, 2: 1}[int(record.key[-8:-4]) % 3] for record in found
        ]
        assert found[0].image().size == (12, 9)


@pytest.mark.parametrize("layout", OFFICIAL)
def test_official_files_are_split_by_a_seed_and_marked(layout: str, tmp_path: Path):
    task, write = OFFICIAL[layout]
    write(tmp_path)
    card = resolve(card_of(task), tmp_path)
    assert card.reader.format == "fgvc-official"
    check(card, tmp_path)
    train, val, test = (records(card, tmp_path, split) for split in ("train", "val", "test"))
    assert all(record.key.startswith(MARK) for record in (*train, *val))
    assert not any(record.key.startswith(MARK) for record in test)
    assert len({record.key for record in (*train, *val, *test)}) == N
    assert [record.key for record in records(card, tmp_path, "train")] == [
        record.key for record in train
    ]
    assert {record.label for record in (*train, *val, *test)} == {0, 1, 2}
    other = card.model_copy(update={"reader": card.reader.model_copy(update={"seed": 1})})
    assert {record.key for record in records(other, tmp_path, "val")} != {
        record.key for record in val
    }


def test_sparse_ids_are_ordered_as_numbers(tmp_path: Path):
    write_nabirds(tmp_path)
    for record in records(resolve(card_of("nabirds"), tmp_path), tmp_path, "test"):
        assert record.label == {0: 0, 1: 2, 2: 1}[int(record.key[-8:-4]) % 3]  # 9, 100, 11


def test_ids_of_any_length_are_ordered_as_numbers():
    assert in_order(["10", "9", "1" + "0" * 5000, "9"]) == ["9", "10", "1" + "0" * 5000]
    assert in_order(["10", "9", "b"]) == ["10", "9", "b"]


def test_a_layout_that_nobody_knows_is_one_line(tmp_path: Path):
    card = card_of("cub200_2011")
    strange = card.model_copy(
        update={
            "reader": Reader.model_validate(
                {"format": "fgvc-official", "folder": "CUB_200_2011", "layout": "ceb", "seed": 0}
            )
        }
    )
    for use in (check, lambda card, root: records(card, root, "train")):
        with pytest.raises(
            BadInput,
            match=r"'layout' in its card's .* is 'ceb', expected one of cub, flowers, dogs, cars",
        ):
            use(strange, tmp_path)


def test_flowers_has_an_official_val(tmp_path: Path):
    write_flowers(tmp_path)
    card = resolve(card_of("oxford_flowers"), tmp_path)
    check(card, tmp_path)
    val = records(card, tmp_path, "val")
    assert [record.key for record in val] == [
        f"jpg/image_{number:05}.jpg" for number in (14, 15, 16)
    ]
    assert [record.label for record in val] == [(number - 1) % 3 for number in (14, 15, 16)]


def rewritten(task: str, split: str, change: Callable[[dict], dict]) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        path = root / task / f"{split}.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return damage


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            rewritten(
                "cub200_2011",
                "val",
                lambda content: {**dict([*content.items()][1:]), "class1/0001.jpg": 100},
            ),
            "is in val.json and in test.json",
        ),
        (
            rewritten("cub200_2011", "val", lambda content: {"../secret.jpg": 9}),
            "is outside the folder",
        ),
        (
            rewritten("cub200_2011", "train", lambda content: dict(list(content.items())[1:])),
            "train has 12 records, expected 13",
        ),
        (
            rewritten(
                "cub200_2011",
                "train",
                lambda content: dict([*content.items()][1:]) | {"class0/9999.jpg": 9},
            ),
            "9999.jpg is missing",
        ),
        (
            rewritten(
                "cub200_2011",
                "train",
                lambda content: dict([*content.items()][1:]) | {"a\u200b.jpg": 9},
            ),
            r"as 'a\u200b.jpg'",
        ),
        (
            lambda root: (root / "cub200_2011" / "test.json").write_text(
                '{"a.jpg": 1, "a.jpg": 2}'
            ),
            "names a.jpg twice",
        ),
        (
            lambda root: (root / "cub200_2011" / "test.json").write_text('{"a.jpg": [1]}'),
            "has '[1]' for the class of a.jpg",
        ),
        (lambda root: (root / "cub200_2011" / "test.json").unlink(), "test.json"),
        (lambda root: (root / "cub200_2011" / "test.json").write_text("[1, 2"), "is damaged"),
    ],
)
def test_lists_that_are_wrong_are_one_line(damage: Callable, said: str, tmp_path: Path):
    write_json(tmp_path, "cub200_2011", "images")
    card = resolve(card_of("cub200_2011", train=13), tmp_path)
    damage(tmp_path)
    with pytest.raises(BadInput) as error:
        check(card, tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("train_test_split.txt", "1 1\n2 0\n", "don't name the same images"),
        ("image_class_labels.txt", "1\n", "without two columns"),
        ("images.txt", None, "no CUB_200_2011/images.txt in"),
    ],
)
def test_official_lists_that_are_wrong_are_one_line(
    file: str, content: str | None, said: str, tmp_path: Path
):
    write_cub(tmp_path)
    card = resolve(card_of("cub200_2011"), tmp_path)
    path = tmp_path / "CUB_200_2011" / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadInput, match=said):
        check(card, tmp_path)


def test_a_damaged_mat_file_is_one_line(tmp_path: Path):
    write_cars_combined(tmp_path)
    card = resolve(card_of("stanford_cars"), tmp_path)
    path = tmp_path / "stanford_cars" / "cars_annos.mat"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadInput, match=r"cars_annos\.mat is damaged"):
        check(card, tmp_path)
    savemat(path, {"other": [1]})
    with pytest.raises(BadInput, match="has no annotations"):
        check(card, tmp_path)
