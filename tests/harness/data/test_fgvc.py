"""FGVC: VPT's lists, and the official files of those who lack them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from harness.cards import TaskCard, load_cards
from harness.data.readers import check, records, resolve
from harness.data.readers.fgvc_official import MARK
from harness.errors import BadInput

RNG = np.random.default_rng(0)
N, CLASSES = 24, 3
"""Images in all; every third one from the second on is test: 16 train, 8 test."""


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(path)


def is_train(row: int) -> bool:
    return row % 3 != 1


def write_json(root: Path, task: str, images: str) -> None:
    lists: dict[str, dict[str, int]] = {"train": {}, "val": {}, "test": {}}
    for row in range(N):
        name = f"class{row % CLASSES}/{row:04}.jpg"
        picture(root / task / images / name)
        split = "test" if not is_train(row) else "val" if row in (0, 8, 15) else "train"
        lists[split][name] = (9, 100, 11)[row % CLASSES]  # sparse; as text 100 would come first
    for split, content in lists.items():
        (root / task / f"{split}.json").write_text(json.dumps(content))


def write_cub(root: Path, ids: Callable[[int], str] = str, folder: str = "CUB_200_2011") -> None:
    (root / folder).mkdir(parents=True)
    lists: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": []}
    for row in range(N):
        name = f"{row % CLASSES}.bird/{row:04}.jpg"
        picture(root / folder / "images" / name)
        lists["images"].append(f"{ids(row + 1)} {name}")
        lists["image_class_labels"].append(f"{ids(row + 1)} {(9, 100, 11)[row % CLASSES]}")
        lists["train_test_split"].append(f"{ids(row + 1)} {int(is_train(row))}")
    for name, lines in lists.items():
        (root / folder / f"{name}.txt").write_text("\n".join(lines) + "\n")


def write_nabirds(root: Path) -> None:
    write_cub(root, lambda row: f"{row:08x}-0000-4000-8000-000000000000", "nabirds")


def write_flowers(root: Path) -> None:
    folder = root / "oxford_flowers"
    for number in range(1, N + 1):
        picture(folder / "jpg" / f"image_{number:05}.jpg")
    savemat(folder / "imagelabels.mat", {"labels": np.array([[row % CLASSES + 1 for row in range(N)]], np.uint8)})
    savemat(folder / "setid.mat", {"trnid": [range(1, 14)], "valid": [range(14, 17)], "tstid": [range(17, 25)]})


def cells(names: list[str]) -> np.ndarray:
    found = np.empty((len(names), 1), dtype=object)
    found[:, 0] = names
    return found


def write_dogs(root: Path) -> None:
    folder = root / "stanford_dogs"
    (folder / "lists").mkdir(parents=True)
    for part, rows in (("train", [r for r in range(N) if is_train(r)]), ("test", [r for r in range(N) if not is_train(r)])):
        names = [f"n0{row % CLASSES}-dog/n0{row % CLASSES}_{row}.jpg" for row in rows]
        for name in names:
            picture(folder / "Images" / name)
        labels = np.array([[row % CLASSES + 1] for row in rows], np.uint8)
        savemat(folder / "lists" / f"{part}_list.mat", {"file_list": cells(names), "labels": labels})


def rows_of(fields: dict[str, list]) -> np.ndarray:
    """A MATLAB structure array, one row."""
    found = np.empty((1, len(next(iter(fields.values())))), dtype=[(name, object) for name in fields])
    for name, values in fields.items():
        for place, value in enumerate(values):
            found[name][0, place] = value
    return found


def write_cars_combined(root: Path) -> None:
    folder = root / "stanford_cars"
    names = [f"car_ims/{row + 1:06}.jpg" for row in range(N)]
    for name in names:
        picture(folder / name)
    fields = {
        "relative_im_path": names,
        "class": [row % CLASSES + 1 for row in range(N)],
        "test": [int(not is_train(row)) for row in range(N)],
    }
    savemat(folder / "cars_annos.mat", {"annotations": rows_of(fields)})


def write_cars_devkit(root: Path) -> None:
    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    for part, file in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        rows = [row for row in range(N) if is_train(row) == (part == "train")]
        names = [f"{place + 1:05}.jpg" for place in range(len(rows))]
        for name in names:
            picture(folder / f"cars_{part}" / name)
        savemat(folder / file, {"annotations": rows_of({"class": [row % CLASSES + 1 for row in rows], "fname": names})})


def card_of(task: str, train: int = 13, val: int = 3) -> TaskCard:
    """The shipped card, cut down."""
    return load_cards()[task].model_copy(update={"classes": CLASSES, "sizes": {"train": train, "val": val, "test": 8}})


OFFICIAL = {
    "cub": ("cub200_2011", write_cub),
    "nabirds": ("nabirds", write_nabirds),
    "dogs": ("stanford_dogs", write_dogs),
    "cars, combined": ("stanford_cars", write_cars_combined),
    "cars, devkit": ("stanford_cars", write_cars_devkit),
}


@pytest.mark.parametrize(
    ("task", "images"),
    [("cub200_2011", "images"), ("nabirds", "images"), ("oxford_flowers", ""), ("stanford_dogs", "Images"), ("stanford_cars", "")],
)
def test_vpts_lists_are_read_in_their_order(task: str, images: str, tmp_path: Path):
    write_json(tmp_path, task, images)
    write_cub(tmp_path)  # the official files are there too, and aren't used
    card = resolve(card_of(task), tmp_path)
    assert (card.reader.format, card.pixels) == ("fgvc-json", "vpt")
    check(card, tmp_path)
    for split in ("train", "val", "test"):
        found = records(card, tmp_path, split)
        assert [record.key for record in found] == list(json.loads((tmp_path / task / f"{split}.json").read_text()))
        assert [record.label for record in found] == [{0: 0, 1: 2, 2: 1}[int(record.key[-8:-4]) % 3] for record in found]
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
    assert [record.key for record in records(card, tmp_path, "train")] == [record.key for record in train]
    assert {record.label for record in (*train, *val, *test)} == {0, 1, 2}
    other = card.model_copy(update={"reader": card.reader.model_copy(update={"seed": 1})})
    assert {record.key for record in records(other, tmp_path, "val")} != {record.key for record in val}


def test_sparse_ids_are_ordered_as_numbers(tmp_path: Path):
    write_nabirds(tmp_path)
    for record in records(resolve(card_of("nabirds"), tmp_path), tmp_path, "test"):
        assert record.label == {0: 0, 1: 2, 2: 1}[int(record.key[-8:-4]) % 3]  # 9, 100, 11


def test_flowers_has_an_official_val(tmp_path: Path):
    write_flowers(tmp_path)
    card = resolve(card_of("oxford_flowers"), tmp_path)
    check(card, tmp_path)
    val = records(card, tmp_path, "val")
    assert [record.key for record in val] == [f"jpg/image_{number:05}.jpg" for number in (14, 15, 16)]
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
            rewritten("cub200_2011", "val", lambda content: {**dict([*content.items()][1:]), "class1/0001.jpg": 100}),
            "is in val.json and in test.json",
        ),
        (rewritten("cub200_2011", "val", lambda content: {"../secret.jpg": 9}), "leaves the folder"),
        (rewritten("cub200_2011", "train", lambda content: dict(list(content.items())[1:])), "train has 12 records, expected 13"),
        (rewritten("cub200_2011", "train", lambda content: {**content, "class0/9999.jpg": 9}), "9999.jpg is missing"),
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
def test_official_lists_that_are_wrong_are_one_line(file: str, content: str | None, said: str, tmp_path: Path):
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
