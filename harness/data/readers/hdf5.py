"""Arrays of HDF5 files, which could lead to other files of this machine, and hold chunks of any
size."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import BadInput

if TYPE_CHECKING:
    import h5py

LARGEST_CHUNK = 1 << 28
"""Bytes that are unpacked to read one row."""


@lru_cache(maxsize=6)
def array(task: str, path: Path, name: str, changed: str) -> "h5py.Dataset":
    """The array of numbers with this name, to be read row by row. `changed`: the file's stamp.
    Raises `BadInput`, reading it `OSError`."""
    import h5py  # few tasks need it

    try:
        file = h5py.File(path, "r")
        found = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
        if (
            not isinstance(found, h5py.Dataset)
            or found.external
            or found.is_virtual
            or found.dtype.kind not in "iuf"
        ):
            raise ValueError("no array of numbers in this file")
        if found.chunks and np.prod(found.chunks, dtype=float) > LARGEST_CHUNK:
            raise ValueError("chunks that are too large")
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise BadInput(
            f"task {task}: {path} is damaged, cut short, or has no {name}, an array of numbers in"
            " the file itself. Get it again."
        ) from error
    return found
