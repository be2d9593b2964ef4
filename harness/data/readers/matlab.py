"""Lists and arrays in MATLAB files of version 5, read by SciPy in a separate process with limits
(`matlab_process.py`)."""

import json
import math
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.errors import BadInput
from harness.io.limits import Room

PROCESS = Path(__file__).with_name("matlab_process.py")
SECONDS, BYTES_A_SECOND = 60, 1_000_000
"""CPU seconds: these, and one more per this many bytes of the file."""


class Variables(NamedTuple):
    """What was read from a file."""

    task: str
    path: Path
    values: dict[str, Any]

    def numbers(self, name: str) -> np.ndarray:
        """An array of integers or floats. Raises `BadInput`."""
        return self._of(np.ndarray, name, "numbers")

    def texts(self, name: str) -> list[str]:
        """A string, or a cell array of strings. Raises `BadInput`."""
        return self._of(TextValues, name, "texts")

    def rows(self, name: str) -> list[dict[str, Any]]:
        """A struct array: strings and numbers by field; None for a field that is neither. Raises
        `BadInput`."""
        return self._of(StructRows, name, "rows")

    def _of(self, kind: type, name: str, what: str) -> Any:
        value = self.values.get(name)
        if value is None:
            raise BadInput(f"task {self.task}: {self.path} has no {name}. Download it again.")
        if not isinstance(value, kind):
            raise BadInput(
                f"task {self.task}: {name} of {self.path} has no {what}. Download it again."
            )
        return value


class TextValues(list[str]):
    """Strings, as a type that differs from `StructRows`."""


class StructRows(list[dict[str, Any]]):
    """Rows of a struct array, as a type that differs from `TextValues`."""


@lru_cache(maxsize=8)
def read(task: str, path: Path, names: tuple[str, ...], changed: str) -> Variables:
    """The variables with these names. `changed`: the file's stamp, so that a changed file is read
    again. Raises `BadInput`."""
    try:
        size = path.stat().st_size
        seconds = SECONDS + size // BYTES_A_SECOND
        done = subprocess.run(
            # by its path: by name, it would import the package that contains it
            [
                *(sys.executable, "-P", str(PROCESS)),
                *(str(path), str(Room(path).left), str(seconds), *names),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            timeout=10 * seconds,
            check=True,
        )
        return Variables(task, path, _parsed(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"task {task}: {path} is damaged, or not a .mat file of version 5. Download it again."
        ) from error


def _parsed(content: bytes) -> dict[str, Any]:
    """The process's output. Raises `ValueError`, `KeyError`, `TypeError` for anything else."""
    place = content.index(b"\n") + 1
    values: dict[str, Any] = {}
    for name, of in json.loads(content[:place]).items():
        if "texts" in of:
            values[name] = TextValues(of["texts"])
        elif "rows" in of:
            values[name] = StructRows(of["rows"])
        else:
            dtype, shape = np.dtype(of["dtype"]), of["shape"]
            array = np.frombuffer(content, dtype, math.prod(shape), place)
            values[name] = array.reshape(shape[::-1]).T
            place += array.nbytes
    return values
