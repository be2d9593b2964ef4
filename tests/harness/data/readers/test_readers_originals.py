"""VTAB-1k from its original archives: exact keys, label rules to the letter, and tiny files in each
format, read back."""

import hashlib
import pickle
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import savemat
from tiny_originals import (
    FORMS,
    NEEDS_DATA,
    card_of,
    pixels,
    write_cifar100_python,
    write_classes,
    write_clevr,
    write_dsprites_npz,
    write_dtd,
    write_flowers,
    write_kitti,
    write_pets,
    write_resisc45,
    write_smallnorb,
    write_svhn,
)
from torchvision.datasets import (
    CIFAR100,
    DTD,
    PCAM,
    SVHN,
    CLEVRClassification,
    EuroSAT,
    Flowers102,
    OxfordIIITPet,
)

from harness.data.keys import keys
from harness.data.readers import check, records, resolve
from harness.data.readers.clevr import binned
from harness.data.readers.dsprites import labels as dsprites_labels
from harness.data.readers.kitti import binned as kitti_binned
from harness.data.readers.kitti import split_videos
from harness.data.readers.smallnorb import BASES
from harness.data.splits import order
from harness.errors import BadInput
from harness.tasks.cards import load_cards

ORACLES = {
    "cifar100": (
        "5b25ee0661c3bc4a0f08116d4015d6f10127fe5ae74ac4fd72ca6f044fc0dd4c",
        "93377e439662509b3af8a1e05deab26ef04521fc4e3123b9745627c03adf8b15",
    ),
    "svhn": (
        "901fe4f6d4f65bc865589bb7c52a3778c3d35755573b0c1850b8499236a9d6de",
        "36ae944d2e322a4f2d28ad7c0ff0e2a851bd3574ee88d1753f262089f6ea706f",
    ),
    "dsprites_location": (
        "54130b46ffd225790c81835e4e9bd2e2633ecfe2f2bf81153be3dc4266ea3cbc",
        "86005e8c04783edc67c31e382b961c77cf7ef9e18a3c4f1a8dfc4f1661e4818e",
    ),
    "clevr_count": (
        "5dc1033102716488771af2b643c6b45defc3c8ff3f15be06f459522dc8285557",
        "9a9150228251ccef4c8711c5f0db84cff6ed9b2ff6738cadd96f928d16eaa9d6",
    ),
    "eurosat": (
        "7dac90dec1b730631fee7361833db02241d4ed8f0b7a150fd07c65adac0ebb90",
        "5c9a3ab3702faf2076b229d18dc42459b03651716021c58778b447188aeee7d1",
    ),
}
"""sha256 of the keys of train800 and val200, joined by newlines: computed once with TensorFlow
Datasets' rule."""
COUNT_ONLY = (
    "cifar100",
    "svhn",
    "dsprites_location",
    "dsprites_orientation",
    "smallnorb_azimuth",
    "smallnorb_elevation",
    "clevr_count",
    "clevr_distance",
    "patch_camelyon",
    "eurosat",
    "resisc45",
)


@pytest.mark.parametrize("task", ORACLES)
def test_keys_are_those_of_tensorflow_datasets(task: str):
    card = load_cards()[task]
    found = [
        hashlib.sha256("\n".join(keys(card, None, split)).encode()).hexdigest()
        for split in ("train800", "val200")
    ]
    assert tuple(found) == ORACLES[task]


@pytest.mark.parametrize("task", COUNT_ONLY)
def test_keys_that_need_no_data_are_as_many_as_the_card_says(task: str):
    card = load_cards()[task]
    train, val, both, test = (
        keys(card, None, split) for split in ("train800", "val200", "train800val200", "test")
    )
    assert (len(train), len(val), len(test)) == (800, 200, card.sizes["test"])
    assert both == train + val
    # its val are rows of the test file
    assert len(set(train) | set(val)) == 1000 or task.startswith("smallnorb")


def test_dsprites_first_labels():
    rows = np.array(order(range(737_280))[:20])
    assert dsprites_labels("location", rows).tolist() == [
        0,
        0,
        7,
        6,
        7,
        11,
        7,
        5,
        6,
        14,
        5,
        3,
        10,
        7,
        2,
        0,
        4,
        5,
        2,
        3,
    ]
    assert dsprites_labels("orientation", rows).tolist() == [
        6,
        8,
        0,
        7,
        9,
        12,
        14,
        1,
        14,
        15,
        3,
        13,
        0,
        10,
        14,
        1,
        8,
        6,
        7,
        11,
    ]


def test_clevr_thresholds_are_strict():
    below, above = (
        np.nextafter(np.float32(8.5), np.float32(0)),
        np.nextafter(np.float32(8.5), np.float32(9)),
    )
    distances = np.array(
        [
            0.5,
            8.0,
            np.nextafter(np.float32(8), np.float32(9)),
            below,
            8.5,
            above,
            9,
            9.01,
            9.5,
            9.51,
            10,
            10.01,
        ],
        np.float32,
    )
    assert binned(distances).tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5]


@pytest.mark.parametrize("form", FORMS)
def test_an_original_is_found_checked_and_read_in_the_order_of_its_keys(form: str, tmp_path: Path):
    FORMS[form][1](tmp_path)
    card = resolve(card_of(form), tmp_path)
    assert card.reader.format != "vtab-folder"
    assert card.pixels == "tf"
    check(card, tmp_path)
    for split in ("train", "val", "test"):
        rows = records(card, tmp_path, split)
        assert [record.key for record in rows] == keys(card, tmp_path, split)
        if form not in NEEDS_DATA:
            assert [record.key for record in rows] == keys(card_of(form), None, split)
        image = rows[0].image()
        assert image.mode == "RGB"
        assert rows[0].raw()
        assert rows[0].stamp() == rows[0].stamp() != ""
    assert not {r.raw() for r in records(card, tmp_path, "train")} & {
        r.raw() for r in records(card, tmp_path, "val")
    }


def test_both_forms_of_cifar100_and_torchvision_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_cifar100_python(tmp_path)
    monkeypatch.setattr(CIFAR100, "_check_integrity", lambda self: True)
    monkeypatch.setattr(CIFAR100, "_load_meta", lambda self: None)
    theirs = CIFAR100(tmp_path, train=False)
    card = resolve(card_of("cifar100 python"), tmp_path)
    for record in records(card, tmp_path, "test"):
        image, label = theirs[int(record.key)]
        assert record.label == label
        assert np.array_equal(np.asarray(record.image()), np.asarray(image))
    python = {
        record.key: (record.label, record.raw()) for record in records(card, tmp_path, "train")
    }
    folder = tmp_path / "other" / "cifar-100-binary"
    folder.mkdir(parents=True)
    for name, train in (("train", True), ("test", False)):
        of = CIFAR100(tmp_path, train=train)
        flat = of.data.transpose(0, 3, 1, 2).reshape(len(of), -1)
        rows = np.concatenate(
            [np.zeros((len(of), 1), np.uint8), np.array(of.targets, np.uint8)[:, None], flat],
            axis=1,
        )
        (folder / f"{name}.bin").write_bytes(rows.tobytes())
    binary = records(
        resolve(card_of("cifar100 binary"), tmp_path / "other"), tmp_path / "other", "train"
    )
    assert {record.key: (record.label, record.raw()) for record in binary} == python


def test_svhn_agrees_with_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_svhn(tmp_path)
    monkeypatch.setattr(SVHN, "_check_integrity", lambda self: True, raising=False)
    monkeypatch.setattr("torchvision.datasets.svhn.check_integrity", lambda *_: True)
    theirs = SVHN(str(tmp_path / "svhn"), split="train")
    for record in records(resolve(card_of("svhn"), tmp_path), tmp_path, "train"):
        image, label = theirs[int(record.key)]
        assert record.label == label
        assert np.array_equal(np.asarray(record.image()), np.asarray(image))


OF_TORCHVISION: dict[str, tuple[str, str, str, Callable, int]] = {
    "flowers": (
        "flowers-102",
        "oxford_flowers102",
        "test",
        lambda root: Flowers102(root, "test"),
        0,
    ),
    "pets": (
        "oxford-iiit-pet",
        "oxford_iiit_pet",
        "test",
        lambda root: OxfordIIITPet(root, "test"),
        0,
    ),
    "patch_camelyon": ("pcam", "patch_camelyon", "val", lambda root: PCAM(root, "val"), 0),
    "eurosat": ("eurosat", "", "train", EuroSAT, 0),
    "clevr_count": ("clevr", ".", "train", CLEVRClassification, 3),
}
"""By form: torchvision's folder and ours, our split, torchvision's data set, and how much its
labels are above ours."""


@pytest.mark.parametrize("form", OF_TORCHVISION)
def test_images_and_labels_are_torchvisions(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    theirs_folder, ours_folder, split, make, above = OF_TORCHVISION[form]
    FORMS[form][1](tmp_path)
    if ours_folder:
        (tmp_path / theirs_folder).symlink_to(tmp_path / ours_folder)
    monkeypatch.setattr(Flowers102, "_check_integrity", lambda self: True)
    theirs = make(tmp_path)
    paths = (
        [path for path, _ in theirs.samples]
        if form == "eurosat"
        else getattr(theirs, "_image_files", getattr(theirs, "_images", []))
    )
    names = [Path(path).name for path in paths]
    found = records(resolve(card_of(form), tmp_path), tmp_path, split)  # type: ignore[arg-type]
    for record in found:
        name = record.key.split("_", 1)[1] if form == "eurosat" else record.key
        image, label = theirs[
            names.index(name) if names else int(record.key.removeprefix("valid_"))
        ]
        assert record.label == label - above
        assert np.array_equal(np.asarray(record.image()), np.asarray(image))


def test_dsprites_pictures_are_white_on_black(tmp_path: Path):
    write_dsprites_npz(tmp_path)
    rows = records(resolve(card_of("dsprites npz"), tmp_path), tmp_path, "val")
    assert set(np.asarray(rows[0].image()).reshape(-1).tolist()) == {0, 255}


def test_smallnorb_takes_the_first_camera_and_its_angles(tmp_path: Path):
    write_smallnorb(tmp_path)
    card = resolve(card_of("smallnorb"), tmp_path)
    content = (tmp_path / "smallnorb" / f"{BASES['test']}-dat.mat").read_bytes()
    images = np.frombuffer(content, np.uint8, offset=24).reshape(12, 2, 96, 96)
    for record in records(card, tmp_path, "test"):
        assert record.label == int(record.key) % 18
        assert record.raw() == images[int(record.key), 0].tobytes()


def test_eurosats_labels_are_those_of_sorted_classes(tmp_path: Path):
    write_classes(tmp_path)
    for record in records(resolve(card_of("eurosat"), tmp_path), tmp_path, "train"):
        assert record.label == ["Forest", "River"].index(record.key.split("_")[0])
        assert record.key.split("_")[0] == record.key.split("_")[1]


def test_resisc45s_keys_repeat_the_class(tmp_path: Path):
    write_resisc45(tmp_path)
    for record in records(resolve(card_of("resisc45"), tmp_path), tmp_path, "train"):
        match = re.fullmatch(r"(airplane|sea_ice)_\1_\d{3}\.jpg", record.key)
        assert match is not None
        assert record.label == ["airplane", "sea_ice"].index(match[1])


def test_clevrs_labels(tmp_path: Path):
    write_clevr(tmp_path)
    for record in records(resolve(card_of("clevr_count"), tmp_path), tmp_path, "train"):
        assert record.label == int(record.key[-10:-4]) % 8
    # nearest: 8.0
    assert {
        record.label
        for record in records(resolve(card_of("clevr_distance"), tmp_path), tmp_path, "train")
    } == {0}


def test_dtds_labels_and_lists_are_torchvisions(tmp_path: Path):
    write_dtd(tmp_path / "dtd")
    theirs = DTD(tmp_path, split="train")
    labels = {
        "/".join(path.parts[-2:]): label
        for path, label in zip(theirs._image_files, theirs._labels, strict=True)
    }
    found = {
        record.key: record.label
        for record in records(resolve(card_of("dtd"), tmp_path), tmp_path, "train")
    }
    assert found.items() <= labels.items()


def test_flowers_and_pets_labels_start_at_zero(tmp_path: Path):
    write_flowers(tmp_path)
    write_pets(tmp_path)
    for record in records(resolve(card_of("flowers"), tmp_path), tmp_path, "test"):
        assert record.label == int(record.key[6:11]) - 1
    for record in records(resolve(card_of("pets"), tmp_path), tmp_path, "test"):
        assert record.label == int(record.key.split("_")[1]) % 5


def test_kittis_labels_and_videos(tmp_path: Path):
    write_kitti(tmp_path)
    card = resolve(card_of("kitti"), tmp_path)
    for split in ("train", "val", "test"):
        for record in records(card, tmp_path, split):
            assert record.label == [3, 0, 1, 1, 2][int(record.key[:6]) % 5]
    videos = sorted(f"v{number:02}" for number in range(30))
    parts = split_videos(videos)
    assert [len(parts[name]) for name in ("train", "validation", "test")] == [24, 3, 3]
    assert set().union(*parts.values()) == set(videos)
    rng = np.random.RandomState(123)
    test = set(rng.choice(videos, 3, replace=False))
    assert parts["test"] == test
    assert parts["validation"] == set(rng.choice(sorted(set(videos) - test), 3, replace=False))
    assert [kitti_binned(depth) for depth in (2.0, 8.0, 8.001, 20.0, 20.001, 999.0, 1000.0)] == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
    ]


def cut(name: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        (path,) = root.rglob(name)
        path.write_bytes(path.read_bytes()[:-100])

    return damage


def gone(name: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        for path in root.rglob(name):
            path.unlink()

    return damage


def replaced(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        (path,) = root.rglob(name)
        path.write_bytes(content)

    return damage


class Evil:
    def __reduce__(self):
        return (print, ("a program ran",))


def without_y(root: Path) -> None:
    savemat(root / "svhn" / "train_32x32.mat", {"X": pixels(32, 32, 3, 20)})


def without_x(root: Path) -> None:
    with h5py.File(root / "patch_camelyon" / "camelyonpatch_level_2_split_train_x.h5", "w") as file:
        file["z"] = [1]


def fewer_rows(root: Path) -> None:
    shutil.copyfile(root / "svhn" / "test_32x32.mat", root / "svhn" / "train_32x32.mat")


def without_labels(root: Path) -> None:
    savemat(root / "oxford_flowers102" / "imagelabels.mat", {"other": [1]})


def short_labels(root: Path) -> None:
    for path in (root / "kitti_distance" / "training" / "label_2").iterdir():
        path.write_text("Car 1 2")


def strange_depth(root: Path) -> None:
    for path in (root / "kitti_distance" / "training" / "label_2").iterdir():
        path.write_text("Car " + "1 " * 12 + "20u0 1")


def short_sun(root: Path) -> None:
    (root / "sun397" / "sun397_tfds_tr.txt").write_text("/a/abbey/sun_0.jpg\n")


def wrong_sun(root: Path) -> None:
    (root / "sun397" / "sun397_tfds_tr.txt").write_text("/a/../../passwd\n")


def fewer_classes(root: Path) -> None:
    for path in (root / "sun397" / "SUN397" / "t" / "tower").iterdir():
        path.rename(root / "sun397" / "SUN397" / "a" / "abbey" / f"tower_{path.name}")
    for path in (root / "sun397").glob("*.txt"):
        path.write_text(path.read_text().replace("/t/tower/", "/a/abbey/tower_"))


def short_list(root: Path) -> None:
    path = root / "oxford_iiit_pet" / "annotations" / "test.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))


@pytest.mark.parametrize(
    ("form", "damage", "said"),
    [
        ("cifar100 python", cut("train"), "cifar-100-python/train is damaged"),
        ("cifar100 python", gone("test"), "no cifar-100-python/test or"),
        (
            "cifar100 python",
            replaced("train", pickle.dumps(Evil())),
            "is damaged, or not CIFAR-100",
        ),
        ("cifar100 binary", cut("train.bin"), "is truncated"),
        ("svhn", cut("test_32x32.mat"), "test_32x32.mat is damaged"),
        ("svhn", without_y, "train_32x32.mat has no y"),
        ("svhn", fewer_rows, "has 6 rows, expected 20"),
        ("dsprites npz", cut("*.npz"), "damaged or truncated"),
        ("dsprites hdf5", replaced("*.hdf5", b"no hdf5"), "has no imgs"),
        (
            "smallnorb",
            replaced(f"{BASES['train']}-dat.mat", struct.pack("<6i", 1, 4, 1, 1, 1, 1)),
            "begins with 0x1, which isn't a matrix",
        ),
        ("smallnorb", cut(f"{BASES['test']}-dat.mat"), "damaged or truncated"),
        ("smallnorb", gone("*-info.mat"), "-info.mat"),
        ("smallnorb gzipped", cut(f"{BASES['train']}-dat.mat.gz"), "damaged or truncated"),
        ("patch_camelyon", without_x, "has no x"),
        ("patch_camelyon", cut("*valid_y.h5"), "valid_y.h5 is damaged"),
        ("patch_camelyon gzipped", cut("*train_x.h5.gz"), "train_x.h5.gz is damaged or truncated"),
        (
            "patch_camelyon gzipped",
            replaced("*train_x.h5.gz", b"no gzip"),
            "train_x.h5.gz is damaged or truncated",
        ),
        ("eurosat", gone("Forest_*.jpg"), "is missing"),
        ("clevr_count", cut("CLEVR_train_scenes.json"), "CLEVR_train_scenes.json is damaged"),
        ("clevr_count", gone("CLEVR_val_*.png"), "is missing"),
        ("dtd", gone("val1.txt"), "no dtd/labels/val1.txt"),
        ("dtd", gone("banded_*.jpg"), "is missing"),
        ("flowers", cut("setid.mat"), "setid.mat is damaged"),
        ("flowers", without_labels, "has no labels"),
        ("pets", replaced("test.txt", b"Breed_1_1 one"), "expected 'Abyssinian_100 1 1 1'"),
        ("pets", replaced("test.txt", b"\xff\xfe"), "is UTF-16"),
        ("pets", short_list, "test.txt has 5 records of test, expected 6"),
        ("kitti", replaced("train_mapping.txt", b"2011 drive 1"), "don't match"),
        ("kitti", short_labels, "a line of 3 columns"),
        ("kitti", strange_depth, "'20u0' for a depth"),
        ("sun397", short_sun, "sun397_tfds_tr.txt has 1 records of train, expected 14"),
        ("sun397", wrong_sun, "has the line '/a/../../passwd'"),
        ("sun397", fewer_classes, "have 2 classes, expected 3"),
        ("sun397", gone("sun397_tfds_va.txt"), "no sun397_tfds_va.txt"),
        ("sun397", gone("sun_2.jpg"), "is missing"),
        ("retinopathy", replaced("trainLabels.csv", b"image\n1_left\n"), "lacks the columns level"),
        (
            "retinopathy",
            replaced("retinopathy_solution.csv", b"image,level\n1_left,0\n"),
            "lacks the columns Usage",
        ),
        ("retinopathy", gone("20_left.jpeg"), "20_left.jpeg is missing"),
    ],
)
def test_a_damaged_original_is_one_line(
    form: str, damage: Callable, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    FORMS[form][1](tmp_path)
    card = resolve(card_of(form), tmp_path)
    damage(tmp_path)
    with pytest.raises(BadInput) as error:
        check(card, tmp_path)
    assert said in str(error.value)
    assert str(error.value).startswith(f"task {card.name}: ")
    assert "\n" not in str(error.value)
    assert "a program ran" not in capsys.readouterr().out
