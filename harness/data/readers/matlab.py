"""MATLAB files of version 5, walked through before SciPy reads them.

SciPy looks a type's number up in a table without asking whether it is in there, and a damaged file
then ends the process; and what is compressed may become gigabytes. A file is a header of 128 bytes,
then elements: a type and a size (4 bytes each), then the data, filled up to 8 bytes. Up to 4 bytes
of data stand in place of the size, which is then the upper half of the type. (MathWorks, "MAT-File
Format".)
"""

import io
import math
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from harness.errors import BadInput
from harness.io.limits import Room

INT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 5, 6, 14, 15
DATA = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18}
"""Types of numbers and texts."""

CELL, STRUCT = 1, 2
CLASSES = {4, *range(6, 16)}
"""Of matrices: texts and numbers; no objects, no functions, no sparse ones."""

COMPLEX = 0x0800
"""Of the flags, one that no list has."""

DEEPEST = 8
"""Matrices within matrices; the lists of Cars have three."""


@lru_cache(maxsize=8)
def read(task: str, path: Path, names: tuple[str, ...], changed: str) -> dict[str, np.ndarray]:
    """The variables with these names. `changed`: the file's stamp, so that it is read anew when it
    is another. Raises `BadInput`."""
    try:
        fields = loadmat(io.BytesIO(checked(path)), variable_names=names)
    except Exception as error:  # SciPy raises many kinds for a file that isn't what it should be
        raise BadInput(
            f"task {task}: {path} is damaged, or no .mat file of version 5. Get it again."
        ) from error
    for name in names:
        if not isinstance(fields.get(name), np.ndarray):
            raise BadInput(f"task {task}: {path} has no {name}. Get it again.")
    return fields


def checked(path: Path) -> bytes:
    """The file without its compression. Raises `ValueError`, `struct.error`, `zlib.error`,
    `TooLarge` for one that SciPy may not see."""
    content, room = path.read_bytes(), Room(path)
    order = {b"IM": "<", b"MI": ">"}[content[126:128]]
    if struct.unpack(f"{order}H", content[124:126]) != (0x0100,):
        raise ValueError("another version")
    parts, place = [content[:128]], 128
    while place < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        data = content[place + 8 : place + 8 + size]
        if len(data) != size:
            raise ValueError("cut short")
        part = _unpacked(data, room) if kind == COMPRESSED else content[place : place + 8 + size]
        for of, inside in _elements(part, order):
            if of != MATRIX:
                raise ValueError("no matrix")
            _check_matrix(inside, order, DEEPEST)
        parts.append(part)
        place += 8 + size
    return b"".join(parts)


def _unpacked(data: bytes, room: Room) -> bytes:
    unpacker, parts = zlib.decompressobj(), []
    while not unpacker.eof:
        parts.append(unpacker.decompress(data, 1 << 24))
        data = unpacker.unconsumed_tail
        room.take(len(parts[-1]))
        if not parts[-1] and not data and not unpacker.eof:
            raise ValueError("cut short")
    return b"".join(parts)


def _elements(data: bytes | memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """(type, data) of each. Raises `ValueError`, `struct.error`."""
    view, place = memoryview(data), 0
    while place < len(view):
        kind, size = struct.unpack_from(f"{order}II", view, place)
        start, after = place + 8, place + 8 + size
        if kind >> 16:  # a small one
            kind, size, start, after = kind & 0xFFFF, kind >> 16, place + 4, place + 8
            if size > 4:
                raise ValueError("a small element that isn't")
        if start + size > len(view):
            raise ValueError("an element that is longer than what it is in")
        yield kind, view[start : start + size]
        place = after if kind in (MATRIX, COMPRESSED) else place + (after - place + 7) // 8 * 8


def _check_matrix(data: memoryview, order: str, deeper: int) -> None:
    """Flags, dimensions and a name; then a cell's matrices, a struct's fields, or one array. Raises
    `ValueError`, `struct.error`."""
    if not data:
        return  # an empty cell
    if deeper == 0:
        raise ValueError("matrices in matrices in matrices")
    (flags_of, flags), (sizes_of, sizes), (name_of, _), *rest = _elements(data, order)
    if (flags_of, len(flags), sizes_of, len(sizes) % 4, name_of) != (UINT32, 8, INT32, 0, INT8):
        raise ValueError("a matrix without flags, dimensions and a name")
    of = struct.unpack(f"{order}I", flags[:4])[0]
    count = math.prod(struct.unpack(f"{order}{len(sizes) // 4}I", sizes))
    if of & 0xFF == STRUCT:
        (length_of, length), (names_of, names), *rest = rest
        if (length_of, names_of) != (INT32, INT8):
            raise ValueError("a struct without names of fields")
        count *= len(names) // struct.unpack(f"{order}I", length)[0]
    if of & 0xFF in (CELL, STRUCT):
        if [kind for kind, _ in rest] != [MATRIX] * len(rest) or len(rest) != count:
            raise ValueError("more or fewer matrices in it than it says")
        for _, inside in rest:
            _check_matrix(inside, order, deeper - 1)
    elif of & 0xFF not in CLASSES or of & COMPLEX or len(rest) != 1 or rest[0][0] not in DATA:
        raise ValueError("a matrix of a kind that no list has")
