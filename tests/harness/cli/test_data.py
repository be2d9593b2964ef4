"""`harness data` as a stranger uses it, on the tiny folder."""

import json
import shutil
from pathlib import Path

import pytest
from command_line import run_command
from tiny_originals import FORMS, card_of, write_classes

from harness.data.export import export
from harness.data.keys import exact_labels, keys
from harness.data.readers import opencv, records, resolve
from harness.data.verify import verify
from harness.errors import BadInput

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def call(cards: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`harness data` with the tiny card: (exit code, standard output, standard error)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = run_command(monkeypatch, "data", *arguments, "--cards", cards)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_status_says_what_is_found_partial_and_missing(
    call, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = call("status", "--tasks", "tiny,cifar100", "--data-root", str(root))
    assert code == 1
    assert [
        line.split()[:2] for line in out.splitlines() if line.split()[0] in ("tiny", "cifar100")
    ] == [
        ["tiny", "found"],
        ["cifar100", "missing"],
    ]
    assert "6 4 5" in out
    assert "fetch: harness data fetch cifar100 --data-root" in out
    assert "vtab-folder" in out
    out = call("status", "--tasks", "tiny,cifar100", "--data-root", str(root), "--format", "json")[
        1
    ]
    tiny, cifar100 = json.loads(out)
    assert (tiny["state"], tiny["format"], tiny["problem"]) == ("found", "vtab-folder", None)
    assert cifar100["state"] == "missing"
    assert cifar100["archives"][0]["url"].startswith("https://")
    (root / "tiny" / "images" / "test" / "000000.jpg").unlink()
    code, out, _ = call("status", "--tasks", "tiny", "--data-root", str(root))
    assert code == 1
    assert "partial" in out
    assert "000000.jpg is missing" in out


def test_keys_are_printed_in_order(call, root: Path):
    code, out, _ = call("keys", "tiny", "--split", "val200", "--data-root", str(root))
    assert code == 0
    assert out.split() == [
        line.split()[0] for line in (root / "tiny" / "val200.txt").read_text().splitlines()
    ]
    code, both, _ = call("keys", "tiny", "--split", "train800val200", "--data-root", str(root))
    assert len(both.split()) == 10
    assert call("keys", "tiny", "--split", "trian", "--data-root", str(root))[0] == 2
    code, _, err = call("keys", "tiny", "--split", "test")
    assert code == 2
    assert "give --data-root" in err
    assert "Did you mean 'tiny'" in call("keys", "tyny", "--split", "test")[2]


def test_a_card_is_shown_as_it_is(call, cards: Path):
    assert call("card", "tiny") == (0, (cards / "tiny.toml").read_text(), "")


def test_verify_lists_findings_for_programs(call, root: Path):
    words = ("verify", "tiny", "cifar100", "--data-root", str(root), "--format", "json")
    code, out, _ = call(*words)
    tiny, cifar100 = json.loads(out)
    assert code == 1
    assert (tiny["task"], tiny["format"], tiny["decoded"]) == ("tiny", "vtab-folder", 15)
    assert sum(tiny["histograms"]["train"].values()) == 6
    assert tiny["faults"] == []
    assert cifar100["task"] == "cifar100"
    assert "--data-root" in cifar100["faults"][0]
    assert json.loads(call(*words, "--quick")[1])[0]["decoded"] is None


def test_verify_finds_an_image_in_two_splits_and_bytes_that_changed_unseen(
    call, root: Path, monkeypatch: pytest.MonkeyPatch
):
    import os

    code, out, _ = call("verify", "--tasks", "tiny", "--data-root", str(root))
    assert code == 0
    assert (
        "classes of 3 seen: train 3 (2-2 images each), val 3 (1-2 images each), test 3 (1-2 images"
        " each)" in out
    )
    image = root / "tiny" / "images" / "test" / "000002.jpg"
    stamp = image.stat()
    changed = bytearray(image.read_bytes())
    changed[-3] ^= 1
    real = Path.stat
    image.write_bytes(bytes(changed))
    os.utime(image, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    monkeypatch.setattr(
        Path, "stat", lambda self, **more: stamp if self == image else real(self, **more)
    )
    code, out, _ = call("verify", "--tasks", "tiny", "--data-root", str(root))
    assert code == 1
    assert "bytes have changed while sizes and times haven't" in out
    monkeypatch.undo()


def test_verify_names_images_that_two_splits_share(call, root: Path):
    folder = root / "tiny" / "images"
    shutil.copyfile(folder / "train800" / "000002.jpg", folder / "test" / "000004.jpg")
    code, out, _ = call("verify", "--tasks", "tiny", "--data-root", str(root))
    assert code == 1
    assert (
        "1 of 5 test images is also in train or val, byte for byte: images/test/000004.jpg ="
        " images/train800/000002.jpg" in out
    )
    (root / "tiny" / "test.txt").unlink()
    code, out, _ = call("verify", "--tasks", "tiny", "--data-root", str(root))
    assert code == 1
    assert "task tiny" in out


def test_verify_knows_the_labels_that_follow_from_keys(tmp_path: Path):
    """A VTAB-1k folder of EuroSAT whose labels are numbered in another order than the exact
    split's."""
    write_classes(tmp_path / "originals")
    card = card_of("eurosat")
    folder, _ = export(
        card, tmp_path / "originals", tmp_path / "copy", "png", lambda done, total: None
    )
    assert verify(card, tmp_path / "copy", print).faults == ()
    for name in ("train800", "val200", "train800val200", "test"):
        lines = [line.rsplit(" ", 1) for line in (folder / f"{name}.txt").read_text().splitlines()]
        (folder / f"{name}.txt").write_text(
            "".join(f"{path} {1 - int(label)}\n" for path, label in lines)
        )
    faults = verify(card, tmp_path / "copy", print).faults
    assert len(faults) == 3 - sum(
        count == len(labels) - count
        for labels in exact_labels(card).values()
        for count in [sum(labels)]
    )
    assert all("VTAB-1k's own split has" in fault for fault in faults)


@pytest.mark.parametrize("command", ["status", "verify", "keys", "card"])
def test_tasks_are_taken_the_same_way(call, command: str, root: Path):
    """By name, by --tasks, comma-separated either way, or by --suite."""
    more = {"keys": ["--split", "test"], "card": []}.get(command, [])
    more += [] if command == "card" else ["--data-root", str(root)]
    code, out, err = call(command, "tiny", *more)
    assert (code, err) == (0, err)
    assert out
    assert call(command, "--tasks", "tiny", *more)[:2] == (0, out)
    assert call(command, "tiny", "--tasks", "tiny", *more)[:2] == (0, out)
    for names in (["tyny"], ["--tasks", "tyny"], ["tiny,tyny"], ["tiny", "tyny"]):
        code, _, err = call(command, *names, *more)
        assert code == 2
        assert "unknown task 'tyny'. Did you mean 'tiny'?" in err
    code, out, _ = call(command, "digits", "fashion", *more)
    assert code == 0
    assert all(name in out for name in ("digits", "fashion"))
    assert call(command, "digits,fashion", *more)[:2] == (0, out)
    code, out, err = call(command, "--suite", "mini", *more)
    assert code == 0
    assert "sprites-count" in out
    assert "is not in suite 'mini'" in call(command, "tiny", "--suite", "mini", *more)[2]


def test_keys_and_cards_without_a_task_say_what_to_do(call, root: Path):
    for command in (("keys", "--split", "test"), ("card",), ("fetch", "--data-root", str(root))):
        code, _, err = call(*command)
        assert code == 2
        assert "name a task, as in" in err


def test_keys_of_several_tasks_are_told_apart(call):
    code, out, _ = call("keys", "cifar100", "svhn", "--split", "val200")
    lines = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert [name for name, _ in lines] == ["cifar100"] * 200 + ["svhn"] * 200


def test_fetch_goes_on_with_the_others(call, root: Path):
    code, _, err = call("fetch", "tiny", "nabirds", "--data-root", str(root))
    assert code == 2
    assert "task tiny can't be fetched" in err
    assert "task nabirds can't be fetched" in err


@pytest.mark.parametrize("columns", ["80", "40", "200"])
def test_status_cuts_no_word_and_folds_no_line(
    call, columns: str, root: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", columns)
    (root / "tiny" / "images" / "test" / "000000.jpg").unlink()
    code, out, _ = call(
        "status",
        "tiny",
        "diabetic_retinopathy",
        "dsprites_orientation",
        "digits",
        "--data-root",
        str(root),
    )
    assert code == 1
    assert "\u2026" not in out
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["tiny", "partial"],
        ["diabetic_retinopathy", "missing"],
        ["dsprites_orientation", "missing"],
        ["digits", "found"],
    ]
    assert "fix, see below" in lines[1]
    assert "fetch + by hand" in lines[2]
    assert lines[5].startswith("tiny: ")
    assert "000000.jpg is missing" in lines[5]
    assert lines[6].startswith(
        "fetch: harness data fetch diabetic_retinopathy dsprites_orientation --data-root "
    )


LISTS = {
    "pets": ("oxford_iiit_pet", ["annotations/trainval.txt", "annotations/test.txt"]),
    "dtd": ("dtd", ["labels/train1.txt", "labels/val1.txt", "labels/test1.txt"]),
    "flowers": ("oxford_flowers102", ["setid.mat"]),
    "sun397": ("sun397", ["sun397_tfds_tr.txt", "sun397_tfds_va.txt", "sun397_tfds_te.txt"]),
    "kitti": ("kitti_distance", ["mapping/train_rand.txt", "mapping/train_mapping.txt"]),
    "retinopathy": ("diabetic_retinopathy", ["trainLabels.csv", "retinopathy_solution.csv"]),
}


@pytest.mark.parametrize("form", LISTS)
def test_keys_need_the_lists_alone(form: str, tmp_path: Path):
    card, (folder, lists) = card_of(form), LISTS[form]
    FORMS[form][1](tmp_path / "whole")
    for name in lists:
        path = tmp_path / "lists" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tmp_path / "whole" / folder / name, path)
    for split in ("train", "val", "test"):
        expected = [
            record.key
            for record in records(resolve(card, tmp_path / "whole"), tmp_path / "whole", split)
        ]
        assert keys(card, tmp_path / "lists", split) == keys(card, tmp_path / "whole", split)
        assert [key.removeprefix(opencv.MARK) for key in expected] == keys(
            card, tmp_path / "lists", split
        )
    with pytest.raises(BadInput, match=f"no .*{Path(lists[0]).name}"):
        keys(card, tmp_path, "train")
    with pytest.raises(BadInput, match="give --data-root"):
        keys(card, None, "train")
