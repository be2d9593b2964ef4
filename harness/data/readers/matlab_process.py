"""Reads MATLAB files with SciPy, in a separate process that `matlab.py` starts.

    python matlab_process.py FILE MEMORY SECONDS NAME...

SciPy's reader is written for trusted files: a damaged one may crash the process, and compressed
data may become gigabytes. So here it has `MEMORY` bytes beyond those used at the start, `SECONDS`
of the CPU, and can't write files. It imports nothing from the harness.

The output, on stdout, is a line of JSON and the concatenated bytes of the arrays. By variable, the
line has `{"dtype", "shape"}` for an array of numbers, in MATLAB's order (columns first);
`{"texts"}` for strings or a cell array of them; `{"rows"}` for a struct array. A variable that
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
    if matfile_version(path)[0] != 1:  # how it denotes version 5
        raise ValueError("another version")
    variables = loadmat(path, variable_names=names)
    head, arrays = {}, []
    for name in (name for name in names if name in variables):
        head[name] = described(variables[name])
        if "dtype" in head[name]:
            arrays.append(np.ascontiguousarray(variables[name].T))
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n")
    for array in arrays:
        sys.stdout.buffer.write(array.data)


def limit(memory: int, seconds: int) -> None:
    """Limits the process from here on, as far as the system can."""
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
    """A variable's entry in the line. Raises `ValueError` for what no list contains: sparse and
    complex numbers, objects, functions, nested cells."""
    if type(value) is not np.ndarray:
        raise ValueError("not an array")
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
    """The string or number inside nested one-element arrays; None for anything else."""
    while isinstance(value, np.ndarray) and value.size == 1 and not value.dtype.names:
        value = value.item()
    return value if isinstance(value, str | int | float) else None


if __name__ == "__main__":
    main(*sys.argv[1:])
