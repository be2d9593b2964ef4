"""The record order that defines VTAB-1k, computed without TensorFlow.

TensorFlow Datasets sorts the records of a split by md5(salt + key): the salt is the split's name,
the key a record's name as text (a row number, or a file name). A slice such as `train[:800]` is a
slice of that order.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from harness.errors import BadInput
from harness.tasks.cards import SplitName, TaskCard

Key = TypeVar("Key", str, int)


def order(keys: Iterable[Key], salt: str = "train") -> list[Key]:
    """`keys` as TensorFlow Datasets orders them. Keys are row numbers or names, without
    repeats."""
    return list(_rows_in_order(keys, salt)) if isinstance(keys, range) else _in_order(keys, salt)


@lru_cache(maxsize=1)  # dSprites' 737,280 rows take seconds, and each of its splits needs them
def _rows_in_order(rows: range, salt: str) -> list[Any]:
    return _in_order(rows, salt)


def _in_order(keys: Iterable[Key], salt: str) -> list[Key]:
    seed = hashlib.md5(salt.encode(), usedforsecurity=False)

    def digest(key: Key) -> bytes:
        hasher = seed.copy()
        hasher.update(str(key).encode())
        return hasher.digest()

    return sorted(keys, key=digest)


def sliced(ordered: Sequence[Key], start: int = 0, stop: int | None = None) -> Sequence[Key]:
    """`S[start:stop]`. Raises `ValueError` if the sequence is too short, which Python's slices
    would hide."""
    end = len(ordered) if stop is None else stop
    if not 0 <= start <= end <= len(ordered):
        raise ValueError(f"slice [{start}:{stop}] of {len(ordered)} records")
    return ordered[start:end]


def parse(text: str) -> tuple[str, int, int | None]:
    """`train[45000:45200]` -> ("train", 45000, 45200); `test` -> ("test", 0, None). Raises
    `ValueError`."""
    match = re.fullmatch(r"(\w+)(?:\[(\d*):(\d*)\])?", text)
    if match is None:
        raise ValueError(f"'{text}' isn't a slice such as train[:800]")
    source, start, stop = match.groups()
    return source, int(start or 0), int(stop) if stop else None


def select(card: TaskCard, split: SplitName, keys: Callable[[str], Sequence[Key]]) -> list[Key]:
    """The keys of one of our splits, in order, by the card's `slices`. `keys` returns all keys of a
    split of the source, in any order.

    Raises `BadInput` if the source is too short.
    """
    try:
        source, start, stop = parse(card.slices[split])
        return list(sliced(order(keys(source), source), start, stop))
    except (KeyError, ValueError) as error:
        raise BadInput(
            f"task {card.name}: {split} is {card.slices.get(split)!r} of its source, which isn't"
            f" available: {error}."
        ) from error
