"""Arrays in HDF5 files. These aren't trusted: they could refer to other files of this machine, and
have chunks of any size."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import BadInput

if TYPE_CHECKING:
    import h5py

LARGEST_CHUNK = 1 << 28
"""Most bytes to decompress for reading one row."""


@lru_cache(maxsize=6)
def array(task: str, path: Path, name: str, changed: str) -> "h5py.Dataset":
    """The array of numbers with this name, to be read row by row. `changed`: the file's stamp.
    Raises `BadInput`; reading it may raise `OSError`."""
    import h5py  # few tasks need it

    try:
        file = h5py.File(path, "r")
        dataset = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
        if (
            not isinstance(dataset, h5py.Dataset)
            or dataset.external
            or dataset.is_virtual
            or dataset.dtype.kind not in "iuf"
        ):
            raise ValueError("not an array of numbers in this file")
        if dataset.chunks and np.prod(dataset.chunks, dtype=float) > LARGEST_CHUNK:
            raise ValueError("chunks that are too large")
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise BadInput(
            f"task {task}: {path} is damaged or truncated, or has no {name}, an array of numbers in"
            " the file itself. Download it again."
        ) from error
    return dataset
