"""Decoding many images and masks by a few threads, in order, with a bounded number of them in
memory."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import UInt8
from PIL import UnidentifiedImageError
from PIL.Image import DecompressionBombError, Image

from harness.data.images import FORMATS, REMARKS, remarks
from harness.data.readers.record import Record
from harness.errors import BadInput
from harness.io.cores import cores
from harness.text import plain

T = TypeVar("T")
CHUNK = 64
"""Images decoded in parallel, and held in memory at once."""


def decoded(task: str, rows: Sequence[Record], turn: Callable[[Image], T]) -> Iterator[T]:
    """What `turn` makes of each record's image. Raises `BadInput` for a record that can't be
    decoded."""
    yield from _threaded(rows, lambda record: _decode(task, record, turn))


class DecodeCheck(NamedTuple):
    """What decoding an image revealed."""

    failure: str = ""
    """Why it can't be decoded, with its name; empty if it can."""
    remarks: tuple[str, ...] = ()
    """Oddities that its pixels don't show, as phrases that can follow 'has'."""


def decode_checks(rows: Sequence[Record]) -> Iterator[DecodeCheck]:
    """Decodes each image and drops it; only one per thread is in memory at a time."""
    yield from _threaded(rows, _checked)


def masks(task: str, rows: Sequence[Record]) -> Iterator[UInt8[np.ndarray, "height width"]]:
    """Each record's mask. Raises `BadInput` for one that can't be decoded or is invalid."""
    yield from _threaded(rows, lambda record: _mask(task, record))


def _threaded(rows: Sequence[Record], do: Callable[[Record], T]) -> Iterator[T]:
    with ThreadPoolExecutor(min(8, cores())) as threads:
        for start in range(0, len(rows), CHUNK):
            yield from threads.map(do, rows[start : start + CHUNK])


def _mask(task: str, record: Record) -> UInt8[np.ndarray, "height width"]:
    assert record.mask is not None
    try:
        return record.mask.classes()
    except (OSError, SyntaxError, ValueError, DecompressionBombError) as error:
        raise BadInput(
            f"task {task}: the mask of {record.key} is missing, or can't be decoded. Download it"
            " again."
        ) from error


def _decode(task: str, record: Record, turn: Callable[[Image], T]) -> T:
    try:
        image = record.image()
        image.load()
    except BadInput:
        raise
    except Exception as error:
        # Pillow and OpenCV raise many kinds for a file that isn't what it should be
        raise BadInput(
            f"task {task}: record {_failure(record, error)}. Download it again."
        ) from error
    return turn(image)


def _checked(record: Record) -> DecodeCheck:
    try:
        image = record.image()
        image.load()
        return DecodeCheck(
            "", (*image.info.get(REMARKS, ()), *(remarks(record.raw()) if record.file else ()))
        )
    except Exception as error:  # as above; and `BadInput`, which already names the file
        return DecodeCheck(str(error) if isinstance(error, BadInput) else _failure(record, error))


def _failure(record: Record, error: Exception) -> str:
    key = plain(record.key)[:200]
    file = f"{plain(record.file)[:300]}: " if record.file else ""
    return f"{key} is missing, or can't be decoded as an image ({file}{reason(error)})"


def reason(error: Exception) -> str:
    """Why a file isn't an image, in a few words."""
    if isinstance(error, UnidentifiedImageError):
        return f"not one of {', '.join(FORMATS)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return plain(" ".join(str(error).split()))[:200].rstrip(".") or type(error).__name__
