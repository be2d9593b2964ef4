"""A source that lacks a record, or has one twice: VTAB's slices of it would be made of others, so
it is refused, whatever its format."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from tiny_fgvc import card_of as fgvc_card
from tiny_fgvc import write_cars_devkit, write_cub, write_dogs, write_nabirds
from tiny_fgvc import write_flowers as write_fgvc_flowers
from tiny_originals import FORMS, card_of
from tiny_tfrecords import dmlab, tiny_tfds, write_dmlab, write_tfds

from harness.data.readers import check, resolve
from harness.data.status import status
from harness.data.verify import verify
from harness.errors import BadInput
from harness.planning.plan import check_data
from harness.tasks.cards import Archive, TaskCard, load_cards, load_suites


def less(name: str) -> Callable[[Path], None]:
    """Without the list's last line."""

    def damage(root: Path) -> None:
        (path,) = root.rglob(name)
        path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")

    return damage


def doubled(name: str) -> Callable[[Path], None]:
    """As long as it was: the first line again in place of the second."""

    def damage(root: Path) -> None:
        (path,) = root.rglob(name)
        lines = path.read_text().splitlines()
        first = 1 if lines[0].startswith("image,") else 0
        lines[first + 1] = lines[first]
        path.write_text("\n".join(lines) + "\n")

    return damage


def column(
    name: str, field: str, change: Callable[[np.ndarray], np.ndarray]
) -> Callable[[Path], None]:
    """A list in MATLAB's format with one field changed."""

    def damage(root: Path) -> None:
        (path,) = root.rglob(name)
        fields = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
        savemat(path, {**fields, field: change(fields[field])})

    return damage


def fewer_videos(root: Path) -> None:
    """One image less in the mapping."""
    path = root / "kitti_distance" / "mapping" / "train_rand.txt"
    path.write_text(",".join(path.read_text().split(",")[:-1]))


@pytest.mark.parametrize(
    ("form", "damage", "said"),
    [
        ("pets", less("trainval.txt"), "trainval.txt has 19 records of train, expected 20"),
        ("pets", less("test.txt"), "test.txt has 5 records of test, expected 6"),
        ("pets", doubled("trainval.txt"), "trainval.txt names Breed_0_0.jpg twice"),
        ("dtd", less("train1.txt"), "train1.txt has 19 records of train, expected 20"),
        ("dtd", less("val1.txt"), "val1.txt has 3 records of validation, expected 4"),
        ("dtd", doubled("test1.txt"), "test1.txt names"),
        (
            "flowers",
            column("setid.mat", "trnid", lambda ids: ids[:, 1:]),
            "setid.mat has 19 records of train, expected 20",
        ),
        (
            "flowers",
            column("setid.mat", "tstid", lambda ids: ids[:, [0, 0, 2, 3, 4, 5]]),
            "setid.mat names image_00001.jpg twice",
        ),
        (
            "sun397",
            less("sun397_tfds_tr.txt"),
            "sun397_tfds_tr.txt has 13 records of train, expected 14",
        ),
        (
            "sun397",
            less("sun397_tfds_va.txt"),
            "sun397_tfds_va.txt has 3 records of validation, expected 4",
        ),
        ("sun397", doubled("sun397_tfds_te.txt"), "sun397_tfds_te.txt names"),
        ("kitti", fewer_videos, "train_rand.txt has"),
        (
            "retinopathy",
            less("trainLabels.csv"),
            "trainLabels.csv has 13 records of train, expected 14",
        ),
        (
            "retinopathy",
            less("retinopathy_solution.csv"),
            "retinopathy_solution.csv has 5 records of test, expected 6",
        ),
        ("retinopathy", doubled("trainLabels.csv"), "trainLabels.csv names 0_left twice"),
    ],
)
def test_a_list_that_lacks_a_record_is_refused_by_all(
    form: str, damage: Callable, said: str, tmp_path: Path
):
    """The slices alone would still be full: 8 of 19 records."""
    FORMS[form][1](tmp_path)
    card = card_of(form)
    damage(tmp_path)
    found = status(card, tmp_path)
    assert (found.state, said in found.problem) == ("partial", True), found.problem
    with pytest.raises(BadInput) as verified:
        verify(card, tmp_path, lambda line: None)
    with pytest.raises(BadInput) as before_a_run:
        check_data([resolve(card, tmp_path)], tmp_path)
    for error in (verified, before_a_run):
        assert said in str(error.value)
        assert "\n" not in str(error.value)


def test_dmlab_without_a_shard(tmp_path: Path):
    write_dmlab(tmp_path)
    check(resolve(dmlab(), tmp_path), tmp_path)
    (tmp_path / "dmlab" / "tfrecords" / "dmlab-train.tfrecord-00001-of-00002").unlink()
    with pytest.raises(BadInput, match="tfrecords has 10 records of train, expected 20"):
        check(resolve(dmlab(), tmp_path), tmp_path)


@pytest.mark.parametrize("task", load_suites()["vtab"].tasks)
def test_a_directory_of_tensorflow_datasets_with_a_cut_split(task: str, tmp_path: Path):
    folder = write_tfds(tmp_path, task)
    card = tiny_tfds(task)
    check(resolve(card, tmp_path), tmp_path)
    info = json.loads((folder / "dataset_info.json").read_text())
    for split in info["splits"]:
        split["shardLengths"] = split["shardLengths"][:1]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(BadInput, match=r"has 13 records of train, expected 20"):
        check(resolve(card, tmp_path), tmp_path)


def lists_of_cub(root: Path) -> None:
    for name in ("images", "image_class_labels", "train_test_split"):
        less(f"{name}.txt")(root)


def train_for_test(root: Path) -> None:
    folder = root / "stanford_dogs" / "lists"
    shutil.copy(folder / "train_list.mat", folder / "test_list.mat")


@pytest.mark.parametrize(
    ("task", "write", "damage", "said"),
    [
        ("cub200_2011", write_cub, lists_of_cub, "images.txt has 15 records of train, expected 16"),
        (
            "nabirds",
            write_nabirds,
            doubled("images.txt"),
            "images.txt names 00000001-0000-4000-8000-000000000000 twice",
        ),
        ("stanford_dogs", write_dogs, train_for_test, "twice"),
        (
            "oxford_flowers",
            write_fgvc_flowers,
            column("setid.mat", "valid", lambda ids: ids[:, :2]),
            "has 2 records of val, expected 3",
        ),
        (
            "stanford_cars",
            write_cars_devkit,
            column("cars_train_annos.mat", "annotations", lambda rows: rows[:, :-1]),
            "has 15 records of",
        ),
    ],
)
def test_fgvcs_official_lists(
    task: str, write: Callable, damage: Callable, said: str, tmp_path: Path
):
    write(tmp_path)
    card = fgvc_card(task)
    check(resolve(card, tmp_path), tmp_path)
    damage(tmp_path)
    with pytest.raises(BadInput) as error:
        check(resolve(card, tmp_path), tmp_path)
    assert said in str(error.value)


def sources(card: TaskCard, *formats: str):
    return [source for source in (*card.sources, card.reader) if source.format in formats]


def test_the_shipped_cards_count_what_their_sources_have():
    """The sizes that the data sets' papers and TensorFlow Datasets' catalogue give, and what VTAB's
    slices follow from."""
    cards = load_cards()
    for task in load_suites()["vtab"].tasks:
        card = cards[task]
        counted = [
            source.arguments["counts"] for source in card.sources if "counts" in source.arguments
        ]
        assert counted, task
        assert all(counts == counted[0] for counts in counted), task
        sizes: dict[str, int] = {**card.sizes}
        for split, text in card.slices.items():
            source, _, end = text.partition("[")
            if not end:
                assert counted[0][source] == sizes[split], task
    for task in load_suites()["fgvc"].tasks:
        card = cards[task]
        for source in sources(card, "fgvc-official"):
            counts = source.arguments["counts"]
            assert counts["train"] + counts.get("val", 0) == card.sizes["train"] + card.sizes["val"]
            assert counts["test"] == card.sizes["test"]


def test_suns_lists_are_held_to_their_sha256(tmp_path: Path):
    """A list of the right length with another name in it; the published one, as an editor saves it,
    passes."""
    FORMS["sun397"][1](tmp_path)
    path = tmp_path / "sun397" / "sun397_tfds_va.txt"
    published = path.read_bytes()
    digest = hashlib.sha256(published).hexdigest()
    archive = Archive(url="https://example.org/sun397_tfds_va.txt", sha256=digest)  # type: ignore[call-arg]
    card = card_of("sun397").model_copy(update={"archives": (archive,)})
    for content in (
        published,
        b"\xef\xbb\xbf" + published.replace(b"\n", b"\r\n"),
        published.replace(b"/", b"\\").rstrip(),
    ):
        path.write_bytes(content)
        check(resolve(card, tmp_path), tmp_path)
    first, second, *rest = published.splitlines()
    path.write_bytes(b"\n".join([second, first, *rest]) + b"\n")
    said = (
        "sun397_tfds_va.txt is not the list that its owner published: its lines have sha256 .*,"
        f" expected {digest[:16]}"
    )
    with pytest.raises(BadInput, match=said):
        check(resolve(card, tmp_path), tmp_path)


def test_the_shipped_card_has_the_sha256_of_tensorflow_datasets_lists():
    """Of the files in the wheel of 4.9.10."""
    found = {
        archive.name: (archive.bytes, (archive.sha256 or "")[:16])
        for archive in load_cards()["sun397"].archives
    }
    assert found["sun397_tfds_tr.txt"] == (3070803, "764d9aa5c7b67a12")
    assert found["sun397_tfds_va.txt"] == (438722, "0f5f5e56d4c10ea6")
    assert found["sun397_tfds_te.txt"] == (877678, "e172ef48fe5e94e2")


def test_cars_devkit_without_the_labels_says_where_they_come_from(tmp_path: Path):
    write_cars_devkit(tmp_path)
    card = fgvc_card("stanford_cars")
    labels = tmp_path / "stanford_cars" / "cars_test_annos_withlabels.mat"
    labels.rename(tmp_path / "stanford_cars" / "devkit" / labels.name)  # where many copies have it
    check(resolve(card, tmp_path), tmp_path)
    (tmp_path / "stanford_cars" / "devkit" / labels.name).unlink()
    with pytest.raises(BadInput) as error:
        check(resolve(card, tmp_path), tmp_path)
    assert "no cars_test_annos_withlabels.mat in" in str(error.value)
    assert (
        "a separate download (https://ai.stanford.edu/~jkrause/cars/cars_test_annos_withlabels.mat"
        in str(error.value)
    )
    assert "cars_test_annos_withlabels.mat" in load_cards()["stanford_cars"].howto
