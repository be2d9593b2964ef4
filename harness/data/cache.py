"""Decode once: the images of a split as they are kept (`preprocess.py`), in a file that all
processes of a machine map into memory.

Masks are in a second file. Many small images (dSprites' 73,728 of 64 x 64) are kept at their own
size and resized when they are read: at 224 they would take 11 GB. If disk space is short, or the
cache can't be written, nothing is kept and images are decoded each time.
"""

import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64, UInt8, UInt32

from harness.data.decode import CHUNK, decoded, masks
from harness.data.images import RULES
from harness.data.memmap import Mapped
from harness.data.preprocess import kept
from harness.data.readers import records
from harness.data.readers.prepared import Prepared
from harness.data.readers.record import Record
from harness.io.atomic import ReadOnly, making, replacing
from harness.io.cores import cores
from harness.io.resources import cache_dir
from harness.tasks.cards import AT_SOURCE, SplitName, TaskCard

MANY = 2000
"""With more images than this, a split is kept at source size, if that takes less than an eighth."""

_BLOCK = 2**24

SHARE = 0.5
"""Share of the free disk space that one split may take."""

OnDecode = Callable[[str], None]
"""Called with `TASK SPLIT` when a split isn't in the cache and is about to be decoded."""


@runtime_checkable
class Images(Protocol):
    """One split: its labels, and the kept pixels of any of its images; for a segmentation task, its
    masks."""

    @property
    def labels(self) -> Int64[np.ndarray, " image"]: ...
    def rows(
        self, index: Int64[np.ndarray, " row"]
    ) -> Sequence[UInt8[np.ndarray, "_height _width 3"]]: ...
    def masks(
        self, index: Int64[np.ndarray, " row"]
    ) -> Sequence[UInt8[np.ndarray, "_height _width"]]: ...


@dataclass(frozen=True)
class Live:
    """Decoded each time, by a few threads: for a split that doesn't fit on the disk."""

    labels: Int64[np.ndarray, " image"]
    card: TaskCard
    records: Sequence[Record]
    size: int

    def rows(
        self, index: Int64[np.ndarray, " row"]
    ) -> Sequence[UInt8[np.ndarray, "_height _width 3"]]:
        return list(_decoded(self.card, [self.records[row] for row in index], self.size))

    def masks(
        self, index: Int64[np.ndarray, " row"]
    ) -> Sequence[UInt8[np.ndarray, "_height _width"]]:
        return list(masks(self.card.name, [self.records[row] for row in index]))


def cached(
    card: TaskCard,
    root: Path | None,
    split: SplitName,
    size: int,
    fingerprint: str,
    on_decode: OnDecode | None = None,
) -> Images:
    """The split from the cache, which is filled first if the split is missing or incomplete there.
    Raises `BadInput` for data or a cache that can't be used."""
    if card.reader.format == "prepared" and card.pixels == "tf":
        return Prepared(card, root).opened(split)[1]  # already is what the cache would hold
    stem = f"{RULES}-{fingerprint[:16]}-{split}-{card.pixels}" + (
        "" if card.pixels in AT_SOURCE else f"-{size}"
    )
    path = cache_dir() / "images" / f"{stem}.bin"
    if images := _open(path, card, split):
        return images
    with suppress(ReadOnly):
        return _made(path, card, root, split, size, on_decode)
    rows = records(card, root, split)
    return Live(np.array([record.label for record in rows], dtype=np.int64), card, rows, size)


def _made(
    path: Path,
    card: TaskCard,
    root: Path | None,
    split: SplitName,
    size: int,
    on_decode: OnDecode | None,
) -> Images:
    """The split, now in the cache; or decoded each time if disk space is short. Raises `ReadOnly`
    if the cache can't be written."""
    with making(path):
        if images := _open(path, card, split):
            return images
        if on_decode is not None:
            on_decode(f"{card.name} {split}")
        rows = records(card, root, split)
        labels = np.array([record.label for record in rows], dtype=np.int64)
        first = rows[:8] if len(rows) > CHUNK else []
        at_source = _small(card, first, len(rows), size)
        needed = len(rows) * np.mean(
            [image.nbytes for image in _decoded(card, first, size, at_source)] or [0.0]
        )
        needed *= 4 / 3 if card.masked else 1
        if needed > SHARE * shutil.disk_usage(path.parent).free:
            return Live(labels, card, rows, size)
        shapes = []
        # written in order, not through a memory map: a full disk is then an error, not a SIGBUS
        with replacing(path) as file:
            for image in _decoded(card, rows, size, at_source):
                shapes.append(image.shape[:2])
                file.write(image.tobytes())
        if card.masked:
            with replacing(_masks_of(path)) as file:
                for mask in masks(card.name, rows):
                    file.write(mask.tobytes())
        with replacing(_sidecar(path, "labels")) as file:
            np.save(file, labels)
        with replacing(_sidecar(path, "shapes")) as file:
            np.save(file, np.array(shapes, dtype=np.int64))
        with replacing(_sidecar(path, "sums")) as file:
            np.save(file, _sums(*_read(path, card)))
    images = _open(path, card, split)
    assert images is not None
    return images


def _small(card: TaskCard, first: Sequence[Record], n: int, size: int) -> bool:
    """Whether `pil` pixels are better kept at source size: many images, and their first few are
    small."""
    few = (
        [image.nbytes for image in _decoded(card, first, size, at_source=True)]
        if card.pixels == "pil" and n > MANY
        else []
    )
    return bool(few) and 8 * sum(few) < len(few) * 3 * size * size


def _decoded(
    card: TaskCard, rows: Sequence[Record], size: int, at_source: bool = False
) -> Iterator[np.ndarray]:
    return decoded(card.name, rows, lambda image: kept(card.pixels, image, size, at_source))


def _sidecar(path: Path, what: str) -> Path:
    return path.with_name(f"{path.stem}-{what}.npy")


def _masks_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}-masks.bin")


def _open(path: Path, card: TaskCard, split: SplitName) -> Mapped | None:
    """None if a file is missing, truncated or not what its name says."""
    n = card.sizes[split]
    try:
        labels, shapes, flat, flat_masks = content = _read(path, card)
        sums = np.load(_sidecar(path, "sums"), allow_pickle=False)
    except (OSError, ValueError, EOFError, AttributeError):
        return None
    well_formed = (
        labels.dtype == shapes.dtype == np.int64 and labels.shape == (n,) and shapes.shape == (n, 2)
    )
    if (
        not well_formed
        or 3 * shapes.prod(1).sum() != flat.size
        or labels.min() < 0
        or labels.max() >= card.labels
    ):
        return None
    if flat_masks is not None and 3 * flat_masks.size != flat.size:
        return None
    if not np.array_equal(sums, _sums(*content)):
        return None
    return Mapped(labels, shapes, flat, flat_masks)


def _read(
    path: Path, card: TaskCard
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Labels, shapes, pixels, and masks if there are any."""
    labels, shapes = (
        np.load(_sidecar(path, what), allow_pickle=False) for what in ("labels", "shapes")
    )
    flat_masks = np.memmap(_masks_of(path), np.uint8, "r") if card.masked else None
    return labels, shapes, np.memmap(path, np.uint8, "r"), flat_masks


def _sums(*content: np.ndarray | None) -> UInt32[np.ndarray, " block"]:
    """Checksums (CRC-32) of every 16 MiB, as a disk may return other bytes than were written. About
    2 GB/s on two cores."""
    blocks = [
        part.reshape(-1).view(np.uint8)[at : at + _BLOCK]
        for part in content
        if part is not None
        for at in range(0, part.nbytes, _BLOCK)
    ]
    with ThreadPoolExecutor(min(8, cores())) as threads:
        return np.array(list(threads.map(zlib.crc32, blocks)), dtype=np.uint32)
