"""Decoding many images and masks by a few threads, in order, with a bounded number of them in memory."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8
from PIL.Image import DecompressionBombError, Image

from harness.data.readers.record import Record
from harness.errors import BadInput
from harness.plain import plain

T = TypeVar("T")
CHUNK = 64
"""Images decoded side by side, and held in memory at once."""


def decoded(task: str, rows: Sequence[Record], turn: Callable[[Image], T]) -> Iterator[T]:
    """What `turn` makes of each record's image. Raises `BadInput` for a record that can't be decoded."""
    yield from _each(rows, lambda record: _decode(task, record, turn))


def masks(task: str, rows: Sequence[Record]) -> Iterator[UInt8[np.ndarray, "height width"]]:
    """Each record's mask. Raises `BadInput` for one that can't be decoded, or isn't what it should be."""
    yield from _each(rows, lambda record: _mask(task, record))


def _each(rows: Sequence[Record], do: Callable[[Record], T]) -> Iterator[T]:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for start in range(0, len(rows), CHUNK):
            yield from threads.map(do, rows[start : start + CHUNK])


def _mask(task: str, record: Record) -> UInt8[np.ndarray, "height width"]:
    assert record.mask is not None
    try:
        return record.mask.classes()
    except (OSError, SyntaxError, ValueError, DecompressionBombError) as error:
        raise BadInput(f"task {task}: the mask of {record.key} is missing, or no image that can be decoded. Get it again.") from error


def _decode(task: str, record: Record, turn: Callable[[Image], T]) -> T:
    try:
        image = record.image()
        image.load()
    except BadInput:
        raise
    except Exception as error:  # Pillow and OpenCV raise many kinds for a file that isn't what it should be
        key = plain(record.key)[:200]
        raise BadInput(f"task {task}: record {key} is missing, or no image that can be decoded. Get it again.") from error
    return turn(image)
