"""Images that are there more than once: what is an error, what a warning, what the board says; and
that looking costs nothing twice."""

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from tiny_originals import card_of, write_svhn

from harness.data import fingerprint as prints
from harness.data.duplicates import Image, duplicates
from harness.data.fingerprint import data_summary
from harness.data.readers import resolve
from harness.data.readers.record import Record
from harness.data.verify import verify
from harness.errors import BadInput
from harness.planning.plan import plan
from harness.planning.request import Request
from harness.tasks.cards import TaskCard, load_cards, load_suites


def images_of(root: Path, split: str) -> Path:
    return root / "tiny" / "images" / split


def leaked(root: Path) -> None:
    """Two test images from train, one of them twice; one from val."""
    for name, source in (
        ("test/000000.jpg", "train800/000002.jpg"),
        ("test/000002.jpg", "train800/000002.jpg"),
        ("test/000003.png", "val200/000001.png"),
    ):
        shutil.copyfile(root / "tiny" / "images" / source, root / "tiny" / "images" / name)


def asked(root: Path, cards: Path, **more) -> Request:
    return Request(
        "linear",
        tasks="tiny",
        cards=cards,
        data_root=root,
        backbone="mini_vit",
        protocol="mini",
        **more,
    )


def test_a_run_refuses_test_images_that_were_trained_on(root: Path, cards: Path):
    assert plan(asked(root, cards)).warnings == ()
    leaked(root)
    with pytest.raises(BadInput) as error:
        plan(asked(root, cards))
    said = str(error.value)
    assert "task tiny: 3 of 5 test images are also in train or val, byte for byte: " in said
    assert "images/test/000000.jpg = images/train800/000002.jpg" in said
    assert "images/test/000003.png = images/val200/000001.png" in said
    assert "--allow-overlap" in said
    assert "\n" not in said


def test_lists_that_name_the_same_files_are_refused_too(root: Path, cards: Path):
    folder = root / "tiny"
    (folder / "test.txt").write_text(
        "".join((folder / "train800.txt").read_text().splitlines(keepends=True)[:5])
    )
    with pytest.raises(BadInput, match="5 of 5 test images are also in train or val"):
        plan(asked(root, cards))


def test_allowed_it_goes_on_with_a_label_and_stands_beside_the_score(root: Path, cards: Path):
    leaked(root)
    allowed = plan(asked(root, cards, allow_overlap=True))
    warning, *_ = allowed.warnings
    assert "3 of 5 test images are also in train or val" in warning
    (cell,) = allowed.cells
    assert cell.cell.labels["overlap"] == {"images": 3, "of": 5, "expected": 0}


def test_a_card_may_expect_as_many_as_the_published_data_have(root: Path, cards: Path):
    leaked(root)
    path = cards / "tiny.toml"
    text = path.read_text()
    path.write_text(text.replace("pixels =", "overlap = 3\npixels ="))
    found = plan(asked(root, cards))
    assert [
        warning
        for warning in found.warnings
        if "as its card expects: images/test/000000.jpg = images/train800/000002.jpg" in warning
    ]
    key = found.cells[0].key
    path.write_text(text.replace("pixels =", "overlap = 2\npixels ="))
    with pytest.raises(BadInput, match=r"3 of 5 test images .*, but its card expects at most 2: "):
        plan(asked(root, cards))
    assert plan(asked(root, cards, allow_overlap=True)).cells[0].key == key


def test_doubles_within_a_split_and_two_labels_are_warnings(root: Path, cards: Path):
    # classes 0 and 1
    shutil.copyfile(
        images_of(root, "train800") / "000000.jpg", images_of(root, "train800") / "000004.jpg"
    )
    shutil.copyfile(
        images_of(root, "train800") / "000002.jpg", images_of(root, "val200") / "000002.jpg"
    )
    said = plan(asked(root, cards)).warnings
    assert (
        "task tiny: train has 1 image more than once: images/train800/000004.jpg ="
        " images/train800/000000.jpg." in said
    )
    assert (
        "task tiny: 1 image with more than one label: images/train800/000004.jpg ="
        " images/train800/000000.jpg." in said
    )
    assert (
        "task tiny: 1 of 4 val images is also in train: images/val200/000002.jpg ="
        " images/train800/000002.jpg." in said
    )
    verdict = verify(load_cards(cards)["tiny"], root, lambda line: None)
    assert verdict.faults == ()
    assert [f"task tiny: {warning}." for warning in verdict.warnings] == list(said)


def test_the_bytes_are_read_once(root: Path, cards: Path, monkeypatch: pytest.MonkeyPatch):
    leaked(root)
    read = []
    real = Record.digests
    monkeypatch.setattr(Record, "digests", lambda self: read.append(self.key) or real(self))
    for _ in range(3):
        with pytest.raises(BadInput):
            plan(asked(root, cards))
    assert len(read) == 6 + 4 + 5
    image = images_of(root, "test") / "000000.jpg"
    image.write_bytes((images_of(root, "test") / "000004.jpg").read_bytes())
    with pytest.raises(BadInput, match="2 of 5 test images"):
        plan(asked(root, cards))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"0" * 64,
        b"[1, 2]",
        b'["' + b"0" * 64 + b'", {"test": -1}]',
        b'["' + b"0" * 64 + b'", {"tests": 1}]',
    ],
)
def test_a_memory_that_is_damaged_is_made_again(
    content: bytes, root: Path, card: TaskCard, cache: Path
):
    leaked(root)
    before = data_summary(card, root)
    (memo,) = [path for path in (cache / "fingerprints").iterdir() if path.suffix != ".lock"]
    assert data_summary(card, root) == before  # through JSON and back
    memo.write_bytes(content)
    assert data_summary(card, root) == before


def test_official_tasks_may_have_some_of_their_own(tmp_path: Path):
    """SVHN's photographs of blank walls, dSprites' shapes: the same image in two splits by the
    task's own definition."""
    write_svhn(tmp_path)
    card = resolve(card_of("svhn"), tmp_path)
    assert card.overlap > 0
    grey = [
        Image(split, f"{split}/{row}", row % 3, "same", str(row % 3))
        for split in ("train", "val", "test")
        for row in range(4)
    ]
    found = duplicates(grey)
    assert found.error(card) == ""
    assert (
        "4 of 6 test images are also in train or val, as its card expects"
        in found.warnings(card)[0]
    )
    assert found.labels == 1


def test_every_shipped_task_of_others_expects_some_and_a_whole_leak_is_still_an_error():
    cards, suites = load_cards(), load_suites()
    for task in suites["everything"].tasks:
        card = cards[task]
        assert 0 < card.overlap < min(card.sizes["test"], card.sizes["train"]) / 2, task
    for task in suites["mini"].tasks:
        assert cards[task].overlap == 0
        assert not any(data_summary(resolve(cards[task], None), None).duplicates)


def slow(images: list[Image]) -> dict[str, int]:
    """By comparing all with all."""
    test = [
        one
        for one in images
        if one.split == "test"
        and any(other.split != "test" and other.digest == one.digest for other in images)
    ]
    val = {one.digest for one in images if one.split == "val"} & {
        one.digest for one in images if one.split == "train"
    }
    targets = defaultdict(set)
    for image in images:
        targets[image.digest].add(image.target)
    return {
        "test": len(test),
        "val": len(val),
        "labels": sum(len(found) > 1 for found in targets.values()),
    }


@pytest.mark.parametrize("seed", range(20))
def test_counts_are_those_of_a_slow_search(seed: int):
    rng = np.random.default_rng(seed)
    splits = sorted(rng.choice(["train", "val", "test"], 40).tolist())
    images = [
        Image(split, str(row), 0, str(rng.integers(30)), str(rng.integers(2)))
        for row, split in enumerate(splits)
    ]
    found = duplicates(images)
    assert {"test": found.test, "val": found.val, "labels": found.labels} == slow(images)
    for split, extra, _, _ in found.within:
        digests = [image.digest for image in images if image.split == split]
        assert extra == len(digests) - len(set(digests))


def test_one_image_with_two_masks(tmp_path: Path):
    from tiny_ade20k import SIZES, ade

    ade(tmp_path)
    card = resolve(load_cards()["ade20k"].model_copy(update={"sizes": SIZES}), tmp_path)
    (folder,) = {path.parent.parent for path in tmp_path.rglob("*.jpg")}
    first, second, *_ = sorted((folder / "training").glob("*.jpg"))
    shutil.copyfile(first, second)
    masks = [
        folder.parent / "annotations" / "training" / f"{path.stem}.png" for path in (first, second)
    ]
    with Picture.open(masks[0]) as mask:
        other = np.asarray(mask).copy()
    other[0, 0] = (other[0, 0] + 1) % 3
    Picture.fromarray(other).save(masks[1])
    found = data_summary(card, tmp_path).duplicates
    assert found.labels == 1
    assert any("with more than one mask" in warning for warning in found.warnings(card))


def test_a_big_set_is_compared_in_little_time_and_room():
    """dSprites' 74,728 images: well below what reading them takes."""
    import time
    import tracemalloc

    images = [
        Image(
            "test" if row > 1000 else "train",
            f"test/{row}",
            row % 16,
            f"{row % 74_000 // 2:064x}",
            str(row % 16),
        )
        for row in range(74_728)
    ]
    tracemalloc.start()
    start = time.process_time()
    found = duplicates(images)
    seconds, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.within
    assert seconds < 10
    assert peak < 60_000_000


def test_the_cache_is_the_one_that_a_fingerprint_has(card: TaskCard, root: Path):
    assert prints.fingerprint(card, root) == data_summary(card, root).fingerprint
