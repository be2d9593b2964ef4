"""From records to batches: fingerprint, cache, splits, and the seal on the test split."""

import multiprocessing
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data import cache as cache_module
from harness.data import decode as decode_module
from harness.data.cache import cached
from harness.data.fingerprint import fingerprint
from harness.data.loader import Split, TestSetSealed, open_final, open_tuning
from harness.data.normalization import IMAGENET
from harness.data.preprocess import kept
from harness.data.readers import records
from harness.data.readers.record import Record
from harness.errors import BadInput
from harness.tasks.cards import SplitName, TaskCard

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PRINT = "f" * 64


def lists_alone(self: Path, read=Path.read_bytes) -> bytes:
    """Of a file; no image may be read."""
    assert self.suffix == ".txt", f"read {self}"
    return read(self)


def test_fingerprint_is_remembered_and_follows_the_data(
    card: TaskCard, root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    first = fingerprint(card, root)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", lists_alone)
        assert fingerprint(card, root) == first
    (memo,) = [path for path in (cache / "fingerprints").iterdir() if not path.suffix]
    memo.write_text("broken")
    assert fingerprint(card, root) == first
    image = root / "tiny" / "images" / "test" / "000000.jpg"
    image.write_bytes(image.read_bytes() + b"\0")
    changed = fingerprint(card, root)
    assert changed != first
    image.write_bytes(image.read_bytes()[:-1])
    assert fingerprint(card, root) == first


def test_fingerprint_is_of_content_not_of_place(card: TaskCard, root: Path, tmp_path: Path):
    shutil.copytree(root, tmp_path / "elsewhere")
    assert fingerprint(card, tmp_path / "elsewhere") == fingerprint(card, root)
    path = root / "tiny" / "val200.txt"
    path.write_text("\n".join(reversed(path.read_text().splitlines())))
    assert fingerprint(card, root) != fingerprint(card, tmp_path / "elsewhere")


def test_fingerprint_of_a_file_that_cannot_be_read(card: TaskCard, root: Path):
    image = root / "tiny" / "images" / "test" / "000000.jpg"
    image.unlink()
    image.symlink_to("nowhere")
    with pytest.raises(BadInput, match=r"000000\.jpg"):
        fingerprint(card, root)


def test_square_is_pillows_bicubic(card: TaskCard):
    grey = Image.fromarray(np.arange(80, dtype=np.uint8).reshape(8, 10))
    pixels = kept("pil", grey, 5)
    assert (pixels.shape, pixels.dtype) == ((5, 5, 3), np.uint8)
    assert np.array_equal(
        pixels, np.asarray(grey.convert("RGB").resize((5, 5), Image.Resampling.BICUBIC))
    )


def test_cache_decodes_once(
    card: TaskCard, root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    made = cached(card, root, "val", 16, PRINT)
    expected = [kept(card.pixels, record.image(), 16) for record in records(card, root, "val")]
    assert np.array_equal(made.rows(np.arange(4)), expected)
    assert made.labels.tolist() == [0, 1, 2, 0]
    assert not made.rows(np.arange(1))[0].flags.writeable
    assert not list(cache.rglob("*.tmp"))
    monkeypatch.setattr(cache_module, "records", None)
    assert np.array_equal(cached(card, root, "val", 16, PRINT).rows(np.arange(4)), expected)


@pytest.mark.parametrize("damage", [b"", b"not an array", None])
@pytest.mark.parametrize("which", ["labels.npy", "shapes.npy", "16.bin"])
def test_a_damaged_cache_is_made_again(
    card: TaskCard, root: Path, cache: Path, damage: bytes | None, which: str
):
    expected = np.array(cached(card, root, "val", 16, PRINT).rows(np.arange(4)))
    (path,) = cache.glob(f"images/*{which}")
    content = path.read_bytes()
    path.unlink()  # a new file: the old one may still be mapped
    path.write_bytes(content[:-1] if damage is None else damage)
    made = cached(card, root, "val", 16, PRINT)
    assert np.array_equal(made.rows(np.arange(4)), expected)
    assert made.labels.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("which", ["labels.npy", "16.bin", "sums.npy"])
def test_a_byte_that_a_disk_gives_back_wrong_is_seen(
    card: TaskCard, root: Path, cache: Path, which: str
):
    expected = np.array(cached(card, root, "val", 16, PRINT).rows(np.arange(4)))
    (path,) = cache.glob(f"images/*{which}")
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.unlink()
    path.write_bytes(content)
    made = cached(card, root, "val", 16, PRINT)
    assert np.array_equal(made.rows(np.arange(4)), expected)
    assert made.labels.tolist() == [0, 1, 2, 0]


def test_an_image_that_cannot_be_decoded_leaves_nothing(card: TaskCard, root: Path, cache: Path):
    (root / "tiny" / "images" / "val200" / "000002.jpg").write_bytes(b"no image")
    with pytest.raises(BadInput, match=r"task tiny: record images/val200/000002.jpg"):
        cached(card, root, "val", 16, PRINT)
    assert not list(cache.glob("images/*16.bin*.tmp"))
    assert not list(cache.glob("images/*16.bin"))


def test_a_cache_that_cannot_be_written(card: TaskCard, root: Path, cache: Path):
    cache.write_text("a file where the folder should be")
    with pytest.raises(BadInput, match="VPT_HARNESS_CACHE"):
        cached(card, root, "val", 16, PRINT)
    with pytest.raises(BadInput, match="VPT_HARNESS_CACHE"):
        fingerprint(card, root)


def test_a_full_disk_is_one_line(card: TaskCard, root: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match="No space left on device"):
        cached(card, root, "val", 16, PRINT)


def _make(card: TaskCard, root: Path, decoded: Path) -> None:
    """In a process of its own: opens the split, and notes each image that it had to decode."""
    real = decode_module._decode

    def noted(task: str, record: Record, turn: Callable) -> np.ndarray:
        with decoded.open("a") as file:
            file.write(f"{record.key}\n")
        return real(task, record, turn)

    decode_module._decode = noted
    assert len(cached(card, root, "train", 16, PRINT).labels) == 6


def test_two_processes_make_it_once(card: TaskCard, root: Path, tmp_path: Path):
    spawn = multiprocessing.get_context("spawn")
    processes = [
        spawn.Process(target=_make, args=(card, root, tmp_path / "decoded")) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len((tmp_path / "decoded").read_text().splitlines()) == 6


def test_tuning_never_touches_the_test_split(card: TaskCard, root: Path, cache: Path):
    print_ = fingerprint(card, root)
    (root / "tiny" / "test.txt").unlink()
    shutil.rmtree(root / "tiny" / "images" / "test")
    data = open_tuning(card, root, 16, print_)
    assert (len(data.train), len(data.val)) == (6, 4)
    assert not [path for path in (cache / "images").iterdir() if "-test-" in path.name]
    with pytest.raises(TestSetSealed, match="read once"):
        _ = data.test
    with pytest.raises(BadInput):
        open_final(card, root, 16, print_)


def test_final_trains_on_what_the_card_says(card: TaskCard, root: Path):
    both = open_final(card, root, 16, PRINT)
    assert (len(both.train), len(both.test)) == (10, 5)
    train_only = card.model_copy(update={"train_on": "train"})
    assert len(open_final(train_only, root, 16, PRINT).train) == 6


def test_batch_is_the_normalised_rows_of_all_parts(card: TaskCard, root: Path):
    split = cast(Split, open_final(card, root, 16, PRINT).train)
    parts: dict[SplitName, int] = {"train": 6, "val": 4}
    whole = np.concatenate(
        [cached(card, root, name, 16, PRINT).rows(np.arange(n)) for name, n in parts.items()]
    )
    index = torch.tensor([9, 0, 6, 5, 0])
    images, labels = split.batch(index, CPU)
    expected = (whole[index.numpy()] / 255 - np.array(IMAGENET.mean)) / np.array(IMAGENET.std)
    assert (images.dtype, images.shape, labels.dtype) == (
        torch.float32,
        (5, 3, 16, 16),
        torch.int64,
    )
    assert images.is_contiguous()
    np.testing.assert_allclose(images.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-6)
    assert labels.tolist() == [0, 0, 0, 2, 0]
    assert torch.equal(split.batch(index, CPU)[0], images)


def test_many_small_images_are_kept_at_source_size_and_give_the_same_batch(
    card: TaskCard, root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    index = torch.arange(5)
    plain = open_final(card, root, 64, PRINT).test.batch(index, CPU)[0]
    shutil.rmtree(cache)
    monkeypatch.setattr(cache_module, "MANY", 3)
    monkeypatch.setattr(cache_module, "CHUNK", 2)
    small = cached(card, root, "test", 64, PRINT).rows(np.arange(5))
    assert [image.shape for image in small] == [(8 + row, 12, 3) for row in range(5)]
    assert torch.equal(open_final(card, root, 64, PRINT).test.batch(index, CPU)[0], plain)


@pytest.mark.parametrize(("size", "at_source"), [(31, True), (30, False)])
def test_small_is_less_than_an_eighth(
    card: TaskCard,
    root: Path,
    cache: Path,
    size: int,
    at_source: bool,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(cache_module, "MANY", 3)
    monkeypatch.setattr(cache_module, "CHUNK", 2)
    images = cached(card, root, "test", size, PRINT).rows(np.arange(5))
    mean = sum(8 + row for row in range(5)) * 12 / 5
    assert (8 * mean < size * size) is at_source
    assert [image.shape[:2] for image in images] == [
        (8 + row, 12) if at_source else (size, size) for row in range(5)
    ]


def test_a_short_disk_means_decoding_each_time(
    card: TaskCard, root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    index = torch.tensor([3, 0, 2])
    plain, labels = open_final(card, root, 16, PRINT).test.batch(index, CPU)
    shutil.rmtree(cache)
    monkeypatch.setattr(cache_module, "CHUNK", 2)
    monkeypatch.setattr(cache_module, "SHARE", 0.0)
    live = open_final(card, root, 16, PRINT).test
    assert isinstance(cached(card, root, "test", 16, PRINT), cache_module.Live)
    again, same_labels = live.batch(index, CPU)
    assert torch.equal(again, plain)
    assert torch.equal(same_labels, labels)
    assert not list(cache.glob("images/*test*.bin"))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batch_on_a_gpu_is_the_same(card: TaskCard, root: Path):
    split = cast(Split, open_final(card, root, 16, PRINT).train)
    index = torch.arange(10)
    images, labels = split.batch(index, torch.device("cuda"))
    expected, expected_labels = split.batch(index, CPU)
    torch.testing.assert_close(images.cpu(), expected)
    assert torch.equal(labels.cpu(), expected_labels)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_no_batch_waits_for_a_gpu(card: TaskCard, root: Path):
    split = cast(Split, open_final(card, root, 16, PRINT).train)
    index, gpu = torch.arange(10), torch.device("cuda")
    split.batch(index, gpu)
    try:
        torch.cuda.set_sync_debug_mode("error")
        split.batch(index, gpu)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@dataclass
class Arrays:
    """Images that are at hand."""

    images: list[np.ndarray]
    labels: np.ndarray

    def rows(self, index: np.ndarray) -> list[np.ndarray]:
        return [self.images[row] for row in index]

    def masks(self, index: np.ndarray) -> list[np.ndarray]:
        return []


@pytest.mark.parametrize("pixels", ["pil", "tf"])
def test_a_gpu_keeps_the_same_images(pixels: str, monkeypatch: pytest.MonkeyPatch):
    """To the last bit, and resized once."""
    rng = np.random.default_rng(0)
    sides = [(20, 30), (16, 16), (30, 20)] * 30
    arrays = [rng.integers(0, 256, (*side, 3), np.uint8) for side in sides]
    labels = rng.integers(0, 5, 90)
    split = Split(
        [Arrays(arrays[:50], labels[:50]), Arrays(arrays[50:], labels[50:])], pixels, 16, True
    )
    index = torch.tensor([3, 60, 59, 3, 88])
    images, classes = split.batch(index, CPU)
    assert split.is_kept(CUDA)
    monkeypatch.setattr(Split, "is_kept", lambda self, device: True)
    monkeypatch.setattr(Split, "kept", None)
    kept_images, kept_classes = split.batch(index, CPU)
    assert torch.equal(images, kept_images)
    assert torch.equal(classes, kept_classes)
    monkeypatch.setattr(Arrays, "rows", None)
    split.batch(index, CPU)


def test_what_a_gpu_does_not_keep():
    images = Arrays([np.zeros((16, 16, 3), np.uint8)] * 4, np.zeros(4, int))
    assert not Split([images], "vpt", 16, True).is_kept(CUDA)  # another crop each time
    assert not Split([images], "pil", 16, False).is_kept(CUDA)
    assert not Split([images], "pil", 16, True).is_kept(CPU)
    assert not Split([images], "pil", 9460, True).is_kept(CUDA)  # just over a GiB
    assert Split([images], "pil", 9450, True).is_kept(CUDA)
