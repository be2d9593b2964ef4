"""The record order that defines VTAB-1k, computed without TensorFlow.

TensorFlow Datasets sorts the records of a split by md5(salt + key): the salt is the split's name, the key a record's name as text (a row
number, or a file name). A slice such as `train[:800]` is a slice of that order.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

Key = TypeVar("Key", str, int)


def order(keys: Iterable[Key], salt: str = "train") -> list[Key]:
    """`keys` as TensorFlow Datasets orders them. Keys are row numbers or names; none twice."""
    seed = hashlib.md5(salt.encode(), usedforsecurity=False)

    def digest(key: Key) -> bytes:
        own = seed.copy()
        own.update(str(key).encode())
        return own.digest()

    return sorted(keys, key=digest)


def sliced(ordered: Sequence[Key], start: int = 0, stop: int | None = None) -> Sequence[Key]:
    """`S[start:stop]`. Raises `ValueError` where the order is too short for it, which Python's slices would hide."""
    end = len(ordered) if stop is None else stop
    if not 0 <= start <= end <= len(ordered):
        raise ValueError(f"slice [{start}:{stop}] of {len(ordered)} records")
    return ordered[start:end]
