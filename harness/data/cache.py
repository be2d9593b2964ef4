"""Decode once: the images of a split at a backbone's size, in a file that all processes of a machine map into memory."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from harness.cards import SplitName, TaskCard
from harness.data.atomic import making, replacing
from harness.data.pixels import square
from harness.data.readers import records
from harness.data.readers.record import Record
from harness.errors import BadInput
from harness.resources import cache_dir

CHUNK = 64
"""Images decoded side by side, and held in memory at once."""


@dataclass(frozen=True)
class Images:
    """One split, decoded."""

    images: UInt8[np.ndarray, "image size size 3"]
    """Mapped from the file, read-only."""
    labels: Int64[np.ndarray, " image"]


def cached(card: TaskCard, root: Path | None, split: SplitName, size: int, fingerprint: str) -> Images:
    """The split from the cache; made first if it isn't there, or isn't whole. Raises `BadInput` for data or a cache that can't be used."""
    stem = f"{fingerprint[:16]}-{split}-{card.pixels}-{size}"
    path, labels_path = (cache_dir() / "images" / f"{stem}{end}" for end in (".npy", "-labels.npy"))
    if found := _open(path, labels_path, card, split, size):
        return found
    with making(path):
        if found := _open(path, labels_path, card, split, size):
            return found
        rows = records(card, root, split)
        with replacing(labels_path) as file:
            np.save(file, np.array([record.label for record in rows], dtype=np.int64))
        with replacing(path) as file:  # written in order, not through a memory map: a full disk is then an error, not a SIGBUS
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), size, size, 3)}
            np.lib.format.write_array_header_1_0(file, header)
            for image in _decoded(card, rows, size):
                file.write(image.tobytes())
    made = _open(path, labels_path, card, split, size)
    assert made is not None
    return made


def _decoded(card: TaskCard, rows: Sequence[Record], size: int) -> Iterator[np.ndarray]:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for start in range(0, len(rows), CHUNK):
            yield from threads.map(lambda record: _decode(card, record, size), rows[start : start + CHUNK])


def _decode(card: TaskCard, record: Record, size: int) -> np.ndarray:
    try:
        image = record.image()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"task {card.name}: record {record.key} is missing, or no image that can be decoded. Get it again.") from error
    return square(card.pixels, image, size)


def _open(path: Path, labels_path: Path, card: TaskCard, split: SplitName, size: int) -> Images | None:
    """None where a file is absent, cut short or not what its name says."""
    n = card.sizes[split]
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        labels = np.load(labels_path, allow_pickle=False)
        whole = path.stat().st_size == images.offset + images.nbytes
    except (OSError, ValueError, EOFError, AttributeError):
        return None
    right = images.dtype == np.uint8 and images.shape == (n, size, size, 3) and labels.dtype == np.int64 and labels.shape == (n,)
    if not (whole and right and labels.min() >= 0 and labels.max() < card.classes):
        return None
    return Images(images, labels)
