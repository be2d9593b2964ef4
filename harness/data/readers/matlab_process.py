"""Reads lists of MATLAB's format with SciPy, in a process of its own: `matlab.py` starts it.

    python matlab_process.py FILE MEMORY SECONDS NAME...

SciPy's reader is written for files of one's own: a damaged one may end the process, and what is
compressed may become gigabytes. So here it has `MEMORY` bytes beyond those that starting took,
`SECONDS` of the CPU, and can write no file. It imports nothing of the harness.

The answer, on stdout, is a line of JSON and the bytes of the arrays behind one another. By
variable, the line has `{"dtype", "shape"}` of an array of numbers, in MATLAB's order (columns
first); `{"texts"}` of texts or of a cell of them; `{"rows"}` of a struct array. A variable that
isn't in the file is left out.
"""

import json
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import matfile_version


def main(path: str, memory: str, seconds: str, *names: str) -> None:
    limit(int(memory), int(seconds))
    if matfile_version(path)[0] != 1:  # its number for files of version 5
        raise ValueError("another version")
    found = loadmat(path, variable_names=names)
    head, arrays = {}, []
    for name in (name for name in names if name in found):
        head[name] = described(found[name])
        if "dtype" in head[name]:
            arrays.append(np.ascontiguousarray(found[name].T))
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n")
    for array in arrays:
        sys.stdout.buffer.write(array.data)


def limit(memory: int, seconds: int) -> None:
    """From here on; whatever a system can't limit, it doesn't."""
    status = Path("/proc/self/statm")
    pages = int(status.read_text().split()[0]) if status.exists() else 0
    for what, most in (
        (resource.RLIMIT_AS, pages * os.sysconf("SC_PAGE_SIZE") + memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))


def described(value: Any) -> dict[str, Any]:
    """What the line says of a variable. Raises `ValueError` for what no list has: sparse and
    complex numbers, objects, functions, cells in cells."""
    if type(value) is not np.ndarray:
        raise ValueError("no array")
    if value.dtype.kind in "iuf":
        return {"dtype": value.dtype.str, "shape": value.shape}
    if value.dtype.names:
        return {
            "rows": [{name: plain(row[name]) for name in row.dtype.names} for row in value.flat]
        }
    texts = [plain(entry) for entry in value.flat]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("neither numbers nor texts")
    return {"texts": texts}


def plain(value: Any) -> str | int | float | None:
    """The text or number that arrays of one element are wrapped around; None for anything else."""
    while isinstance(value, np.ndarray) and value.size == 1 and not value.dtype.names:
        value = value.item()
    return value if isinstance(value, str | int | float) else None


if __name__ == "__main__":
    main(*sys.argv[1:])
