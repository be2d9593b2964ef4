"""The readers, on data that are right and on data that are wrong in every way that a copy can
be."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import SHARED
from sklearn.datasets import load_digits

from harness.data.fingerprint import fingerprint
from harness.data.readers import check, records
from harness.errors import BadInput
from harness.tasks.cards import SPLITS, TaskCard, load_cards

SAMPLE = SHARED / "data" / "vtab-1k-sample"
Change = Callable[..., TaskCard]


@pytest.fixture
def change(card: TaskCard) -> Change:
    return lambda **fields: card.model_copy(
        update=TaskCard(**{**card.model_dump(), **fields, "path": card.path}).__dict__
    )


def refused(card: TaskCard, root: Path | None) -> str:
    with pytest.raises(BadInput) as error:
        check(card, root)
    assert "\n" not in str(error.value)
    return str(error.value)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_folder_gives_records_in_the_lists_order(card: TaskCard, root: Path):
    check(card, root)
    rows = records(card, root, "train")
    assert [row.label for row in rows] == [0, 1, 2, 0, 1, 2]
    assert [row.key for row in rows[:2]] == [
        "images/train800/000000.jpg",
        "images/train800/000001.png",
    ]
    assert rows[0].raw() == (root / "tiny" / rows[0].key).read_bytes()
    assert [(row.image().mode, row.image().size) for row in rows[:2]] == [
        ("RGB", (12, 8)),
        ("RGB", (12, 9)),
    ]


def test_folder_reads_no_other_split_and_no_image(card: TaskCard, root: Path):
    (root / "tiny" / "val200.txt").unlink()
    (root / "tiny" / "test.txt").unlink()
    for image in (root / "tiny" / "images" / "train800").iterdir():
        image.write_bytes(b"no image")
    assert len(records(card, root, "train")) == 6


def test_folder_may_lack_the_list_of_both(card: TaskCard, root: Path):
    (root / "tiny" / "train800val200.txt").unlink()
    check(card, root)


def test_folder_without_a_data_root(card: TaskCard):
    assert "--data-root" in refused(card, None)


def test_folder_missing(card: TaskCard, tmp_path: Path):
    message = refused(card, tmp_path)
    assert f"task tiny: no folder {tmp_path / 'tiny'}" in message
    assert "draw it" in message


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("train800", "images/train800/000000.jpg 0\n", "", "train has 5 records, expected 6"),
        ("test", "000002.jpg 2", "000002.jpg 3", "has label 3, expected 0 to 2"),
        ("val200", "000002.jpg 2", "000002.jpg -1", "has label -1, expected 0 to 2"),
        ("train800", "000002.jpg 2", "000002.jpg two", "line 3 is"),
        ("train800", "000002.jpg 2", "000002.jpg --2", "line 3 is"),
        ("train800", "000002.jpg 2", "000002.jpg", "line 3 is"),
        (
            "train800",
            "images/train800/000002.jpg",
            "images/train800/gone.jpg",
            "gone.jpg is missing",
        ),
        (
            "train800",
            "images/train800/000002.jpg",
            "images/gone/000002.jpg",
            "000002.jpg is missing",
        ),
        (
            "train800",
            "images/train800/000002.jpg",
            "../tiny/images/train800/000002.jpg",
            "is outside the task's folder",
        ),
        ("train800", "images/train800/000002.jpg", "/etc/hostname", "is outside the task's folder"),
        ("train800val200", "000000.jpg 0", "000000.jpg 1", "label 0 3 times"),
        ("train800val200", "images/train800/000000.jpg 0\n", "", "label 0 3 times"),
    ],
)
def test_folder_with_a_wrong_list(
    card: TaskCard, root: Path, name: str, old: str, new: str, said: str
):
    edit(root / "tiny" / f"{name}.txt", old, new)
    message = refused(card, root)
    assert message.startswith("task tiny:")
    assert said in message


@pytest.mark.parametrize("name", ["train800", "val200", "test"])
def test_folder_without_a_list_or_an_image(card: TaskCard, root: Path, name: str):
    (root / "tiny" / "images" / name / "000000.jpg").unlink()
    message = refused(card, root)
    assert "000000.jpg is missing" in message
    assert "draw it" in message
    (root / "tiny" / f"{name}.txt").unlink()
    assert f"{name}.txt" in refused(card, root)


def test_folder_with_a_list_that_is_not_text(card: TaskCard, root: Path):
    (root / "tiny" / "test.txt").write_bytes(b"\xff\xfe")
    assert "is UTF-16" in refused(card, root)


def arrays(n: int, split: str, shape: tuple[int, ...] = (8, 8)) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)
    return {
        f"{split}_images": rng.integers(0, 256, (n, *shape), dtype=np.uint8),
        f"{split}_labels": np.arange(n) % 3,
    }


@pytest.fixture
def npz(tmp_path: Path) -> dict[str, np.ndarray]:
    content = {**arrays(6, "train"), **arrays(4, "val"), **arrays(5, "test", (8, 8, 3))}
    np.savez(tmp_path / "tiny.npz", **content)  # type: ignore[arg-type]
    return content


def test_arrays_are_beside_the_card(change: Change, npz: dict[str, np.ndarray], tmp_path: Path):
    sha256 = hashlib.sha256((tmp_path / "tiny.npz").read_bytes()).hexdigest()
    card = change(reader={"format": "arrays", "file": "tiny.npz", "sha256": sha256})
    check(card, None)
    rows = records(card, None, "test")
    assert [row.label for row in rows] == [0, 1, 2, 0, 1]
    assert np.array_equal(np.asarray(rows[3].image()), npz["test_images"][3])
    grey = np.asarray(records(card, None, "train")[0].image())
    assert grey.shape == (8, 8, 3)
    assert np.array_equal(grey[:, :, 2], npz["train_images"][0])


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("train_images", np.zeros((6, 8, 8), np.float32), "train_images of"),
        ("train_images", np.zeros((6, 8, 8, 4), np.uint8), "train_images of"),
        ("val_images", np.zeros((3, 8, 8), np.uint8), "val_labels of"),
        ("val_labels", np.zeros(4), "expected integers"),
        ("test_labels", np.array([0, 1, 2, 3, 0]), "has label 3, expected 0 to 2"),
        ("test_labels", None, "has no test_images or no test_labels"),
        ("test_labels", np.array([0, 1, {}, 3, 0]), "not an npz file of plain arrays"),
    ],
)
def test_arrays_of_the_wrong_kind(
    change: Change, npz: dict, tmp_path: Path, name: str, value: np.ndarray | None, said: str
):
    changed = {**npz, name: value}
    np.savez(
        tmp_path / "tiny.npz", **{key: array for key, array in changed.items() if array is not None}
    )
    assert said in refused(change(reader={"format": "arrays", "file": "tiny.npz"}), None)


def test_arrays_of_another_size(change: Change, npz: dict):
    card = change(
        reader={"format": "arrays", "file": "tiny.npz"}, sizes={"train": 6, "val": 4, "test": 50}
    )
    assert "test has 5 records, expected 50" in refused(card, None)


def test_arrays_with_a_wrong_checksum_missing_or_damaged(change: Change, npz: dict, tmp_path: Path):
    assert "expected 0000" in refused(
        change(reader={"format": "arrays", "file": "tiny.npz", "sha256": "0" * 64}), None
    )
    card = change(reader={"format": "arrays", "file": "tiny.npz"})
    whole = (tmp_path / "tiny.npz").read_bytes()
    for damaged in (b"", b"no zip", whole[: len(whole) // 2]):
        (tmp_path / "tiny.npz").write_bytes(damaged)
        assert "damaged" in refused(card, None)
    np.save(tmp_path / "tiny.npz.npy", np.zeros(3))
    (tmp_path / "tiny.npz.npy").rename(tmp_path / "tiny.npz")
    assert "damaged" in refused(card, None)
    (tmp_path / "tiny.npz").unlink()
    assert "draw it" in refused(card, None)


def test_arrays_whose_images_have_names(change: Change, npz: dict, tmp_path: Path):
    names = {"train_keys": np.arange(10, 16), "test_keys": np.array(["a", "b", "c", "d", "e"])}
    np.savez(tmp_path / "tiny.npz", **{**npz, **names})
    card = change(reader={"format": "arrays", "file": "tiny.npz"})
    assert {split: [row.key for row in records(card, None, split)] for split in SPLITS} == {
        "train": ["10", "11", "12", "13", "14", "15"],
        "val": ["val/0", "val/1", "val/2", "val/3"],
        "test": ["a", "b", "c", "d", "e"],
    }
    for wrong in (
        np.arange(5),
        np.zeros(6, int),
        np.linspace(0, 1, 6),
        np.arange(12).reshape(6, 2),
    ):
        np.savez(tmp_path / "tiny.npz", **{**npz, "train_keys": wrong})
        os.utime(tmp_path / "tiny.npz", ns=(time.time_ns(), time.time_ns()))
        assert "train_keys of" in refused(card, None)


def test_arrays_are_told_apart_by_shape_unless_the_card_says_pixels(change: Change, npz: dict):
    assert npz
    shaped, bare = (
        records(change(reader={"format": "arrays", "file": "tiny.npz", **more}), None, "train")[0]
        for more in ({}, {"bytes": "pixels"})
    )
    assert bare.raw() == npz["train_images"][0].tobytes()
    assert shaped.raw() == b"(8, 8)" + bare.raw()
    assert "expected 'pixels'" in refused(
        change(reader={"format": "arrays", "file": "tiny.npz", "bytes": "shapes"}), None
    )


def test_the_shipped_digits_are_those_of_scikit_learn():
    """Results are keyed by this fingerprint, which they had when scikit-learn was read itself."""
    card = load_cards()["digits"]
    check(card, None)
    assert (
        fingerprint(card, None)
        == "dc16e5a13b9253dd4dd4115ed7fbd690935a10528eb924b8bd6c35f845338fb0"
    )
    theirs: Any = load_digits()
    rows = [row for split in ("train", "val", "test") for row in records(card, None, split)]
    assert len({row.key for row in rows}) == 840
    for row in rows:
        place = int(row.key)
        assert row.label == theirs["target"][place]
        scan = np.asarray(row.image())[:, :, 0] * (16 / 255)
        assert np.abs(scan - theirs["images"][place]).max() < 0.05
    for split in ("train", "val", "test"):
        counts = np.bincount([row.label for row in records(card, None, split)], minlength=10)
        assert counts.max() - counts.min() <= 0.1 * counts.sum() / 10 + 2


@pytest.mark.parametrize(
    ("reader", "said"),
    [
        ({"format": "vtab-foldr", "folder": "tiny"}, "Did you mean 'vtab-folder'?"),
        ({"format": "vtab-folder"}, "needs 'folder'"),
        ({"format": "vtab-folder", "folder": 5}, "expected a str"),
        ({"format": "vtab-folder", "folder": "tiny", "foldr": "x"}, "reader.foldr: unknown key"),
        ({"format": "arrays"}, "needs 'file'"),
        ({"format": "ade20k-folder", "folder": "x", "seed": "one"}, "expected a int"),
    ],
)
def test_a_reader_that_is_wrong(change: Change, root: Path, reader: dict, said: str):
    assert said in refused(change(reader=reader), root)


def test_a_reader_without_masks_cant_serve_segmentation(change: Change, root: Path):
    card = change(kind="segmentation", metric="miou", pixels="setr", crop=8)
    assert (
        "reader 'vtab-folder' has no masks, but its card says segmentation: fix the card"
        in refused(card, root)
    )


def test_a_shipped_task_says_how_to_get_it(tmp_path: Path):
    message = refused(load_cards()["cifar100"], tmp_path)
    assert f"no folder {tmp_path / 'cifar'}" in message
    assert "put the VTAB-1k folder at <data-root>/cifar" in message


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="no VTAB-1k sample beside the checkout")
def test_a_real_task(change: Change, tmp_path: Path):
    card = change(
        reader={"format": "vtab-folder", "folder": "cifar10"},
        classes=10,
        sizes={"train": 800, "val": 200, "test": 1000},
    )
    check(card, SAMPLE)
    assert records(card, SAMPLE, "test")[0].image().size == (32, 32)
    copy = tmp_path / "copy" / "cifar10"
    for source in (SAMPLE / "cifar10").rglob("*"):
        target = copy / source.relative_to(SAMPLE / "cifar10")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".txt":
            target.write_bytes(source.read_bytes())
        elif source.is_file():
            target.symlink_to(source)
    check(card, tmp_path / "copy")
    assert "expected 0 to 8" in refused(change(**{**card.model_dump(), "classes": 9}), SAMPLE)
    (copy / "images" / "train800" / "000002.jpg").unlink()
    assert "000002.jpg is missing" in refused(card, tmp_path / "copy")
    edit(copy / "train800.txt", "images/train800/000001.jpg 9\n", "")
    assert "train has 799 records, expected 800" in refused(card, tmp_path / "copy")
    assert "draw it" in refused(change(reader={"format": "vtab-folder", "folder": "cifar"}), SAMPLE)
