"""Decoding many images by a few threads, in order, with a bounded number of them in memory."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from PIL.Image import Image

from harness.data.readers.record import Record
from harness.errors import BadInput
from harness.plain import plain

T = TypeVar("T")
CHUNK = 64
"""Images decoded side by side, and held in memory at once."""


def decoded(task: str, rows: Sequence[Record], turn: Callable[[Image], T]) -> Iterator[T]:
    """What `turn` makes of each record's image. Raises `BadInput` for a record that can't be decoded."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for start in range(0, len(rows), CHUNK):
            yield from threads.map(lambda record: _decode(task, record, turn), rows[start : start + CHUNK])


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
