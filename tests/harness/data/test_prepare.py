"""`harness data prepare` and `export`: the same records in another form, whatever happens on the
way."""

import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data.cache import cached
from harness.data.export import export
from harness.data.fingerprint import fingerprint
from harness.data.loader import open_tuning
from harness.data.memmap import Mapped
from harness.data.prepare import prepare
from harness.data.readers import check, records, resolve
from harness.data.status import status
from harness.errors import BadInput
from harness.tasks.cards import TaskCard

SPLITS = ("train", "val", "test")


def quiet(done: int, total: int) -> None:
    assert 0 <= done <= total


def content(folder: Path) -> dict[str, str]:
    """Every file's digest."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_prepared_data_are_the_same_records(card: TaskCard, root: Path, tmp_path: Path):
    before = fingerprint(card, root)
    to = tmp_path / "to"
    assert prepare(card, root, to, quiet)
    ready = resolve(card, to)
    check(ready, to)
    assert (ready.reader.format, ready.pixels, status(card, to).state) == (
        "prepared",
        "pil",
        "found",
    )
    for split in SPLITS:
        for theirs, ours in zip(records(card, root, split), records(ready, to, split), strict=True):
            assert (ours.key, ours.label, ours.sha256()) == (
                theirs.key,
                theirs.label,
                theirs.sha256(),
            )
            assert np.array_equal(np.asarray(ours.image()), np.asarray(theirs.image()))
    assert fingerprint(ready, to) == before
    for pixels in ("tf", "pil", "vpt"):
        of = [
            open_tuning(one.model_copy(update={"pixels": pixels}), folder, 16, before).val
            for one, folder in ((card, root), (ready, to))
        ]
        theirs, ours = (split.batch(torch.arange(3), torch.device("cpu"))[0] for split in of)
        assert theirs.equal(ours)
    assert not prepare(card, root, to, quiet)


def test_tf_pixels_map_the_prepared_file_itself(card: TaskCard, root: Path, cache: Path):
    prepare(card, root, root, quiet)
    ready = resolve(card, root, "tf")
    images = cached(ready, root, "train", 16, fingerprint(ready, root))
    assert isinstance(images, Mapped)
    assert not (cache / "images").exists()


SCRIPT = """
import sys, time
from pathlib import Path
from harness.tasks.cards import load_cards
from harness.data import decode, prepare, export
card, root, to = load_cards(Path(sys.argv[1]))["tiny"], Path(sys.argv[2]), Path(sys.argv[3])
real = decode._decode
def slow(*arguments):
    time.sleep(0.02)
    return real(*arguments)
decode._decode = slow
decode.CHUNK = 2
print("ready", flush=True)
work = getattr(sys.modules["harness.data." + sys.argv[4]], sys.argv[4])
work(card, root, to, *sys.argv[5:], lambda done, total: print(done, flush=True))
"""


def start(cards: Path, root: Path, to: Path, *what: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(cards), str(root), str(to), *what],
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_after(process: subprocess.Popen, lines: int, wait: float = 0) -> None:
    """`kill -9` when it has said so many lines: "ready", then one an image."""
    with process:
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        time.sleep(wait)
        process.kill()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "what", [("prepare",), ("export", "png"), ("export", "jpeg")], ids=" ".join
)
def test_killed_three_times_it_leaves_the_same_bytes(
    what: tuple[str, ...], card: TaskCard, cards: Path, root: Path, tmp_path: Path
):
    whole = start(cards, root, tmp_path / "whole", *what)
    whole.communicate(timeout=60)
    assert whole.returncode == 0
    chance = random.Random(" ".join(what))
    for _ in range(3):
        kill_after(
            start(cards, root, tmp_path / "killed", *what),
            chance.randint(2, 5),
            chance.random() / 50,
        )
        assert resolve(card, tmp_path / "killed").reader.format != "prepared"
        assert not (tmp_path / "killed" / "tiny").exists()
    last = start(cards, root, tmp_path / "killed", *what)
    said = last.communicate(timeout=60)[0].split()
    assert last.returncode == 0
    assert len(said) < 16  # went on, not from the beginning
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_two_at_once_give_one_good_result(card: TaskCard, cards: Path, root: Path, tmp_path: Path):
    both = [start(cards, root, tmp_path / "to", "prepare") for _ in range(2)]
    said = [process.communicate(timeout=60)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert min(len(lines) for lines in said) == 1  # one had nothing to do
    assert fingerprint(resolve(card, tmp_path / "to"), tmp_path / "to") == fingerprint(card, root)


def test_a_part_of_other_data_is_made_anew(card: TaskCard, cards: Path, root: Path, tmp_path: Path):
    kill_after(start(cards, root, tmp_path / "to", "prepare"), 4)
    first = root / "tiny" / "images" / "train800" / "000000.jpg"
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(first)
    prepare(card, root, tmp_path / "to", quiet)
    assert fingerprint(resolve(card, tmp_path / "to"), tmp_path / "to") == fingerprint(card, root)


def flip(path: Path) -> None:
    changed = bytearray(path.read_bytes())
    changed[5] ^= 1
    path.write_bytes(bytes(changed))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: flip(folder / "test.pixels"), "prepared pixels of .* have changed"),
        (
            lambda folder: (folder / "test.pixels").write_bytes(b"short"),
            "has 5 bytes, but its .csv says",
        ),
        (lambda folder: (folder / "test.csv").write_text("key\n"), "is damaged"),
        (lambda folder: (folder / "test.csv").unlink(), "is damaged"),
        (lambda folder: (folder / "prepared.json").write_text("{"), "is damaged"),
    ],
)
def test_damaged_prepared_data_are_refused(damage, message: str, card: TaskCard, root: Path):
    prepare(card, root, root, quiet)
    damage(root / "tiny.prepared")
    with pytest.raises(BadInput, match=message):
        fingerprint(resolve(card, root), root)


@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_an_exported_folder_reads_back(form, card: TaskCard, root: Path, tmp_path: Path):
    prepare(card, root, tmp_path / "ready", quiet)
    folder, new = export(card, tmp_path / "ready", tmp_path / "to", form, quiet)
    assert (folder, new) == (tmp_path / "to" / "tiny", True)
    back = resolve(card, tmp_path / "to")
    check(back, tmp_path / "to")
    assert back.reader.format == "vtab-folder"
    for split in SPLITS:
        for theirs, ours in zip(
            records(card, root, split), records(back, tmp_path / "to", split), strict=True
        ):
            assert (ours.key, ours.label) == (theirs.key, theirs.label)
            same = np.array_equal(np.asarray(ours.image()), np.asarray(theirs.image()))
            assert same == (form == "png")
    assert len((folder / "train800val200.txt").read_text().splitlines()) == 10
    assert export(card, root, tmp_path / "to", form, quiet) == (folder, False)
    (folder / "keys" / "test.txt").write_text("one\n")
    with pytest.raises(BadInput, match=r"has 1 lines, test\.txt has 5"):
        check(back, tmp_path / "to")


def test_a_missing_image_leaves_no_folder(card: TaskCard, root: Path, tmp_path: Path):
    (root / "tiny" / "images" / "test" / "000003.png").write_bytes(b"no image")
    for make in (
        lambda: prepare(card, root, tmp_path / "to", quiet),
        lambda: export(card, root, tmp_path / "to", "png", quiet),
    ):
        with pytest.raises(BadInput, match=r"000003\.png is missing, or can't be decoded"):
            make()
    assert not (tmp_path / "to" / "tiny").exists()
    assert resolve(card, tmp_path / "to").reader.format != "prepared"
