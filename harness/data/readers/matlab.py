"""Lists and arrays in MATLAB's format of version 5, read by SciPy in a process of its own, with
limits (`matlab_process.py`)."""

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
"""Of the CPU: these, and one more for so many bytes of the file."""


class Variables(NamedTuple):
    """What was read of a file."""

    task: str
    path: Path
    values: dict[str, Any]

    def numbers(self, name: str) -> np.ndarray:
        """An array of integers or floats. Raises `BadInput`."""
        return self._of(np.ndarray, name, "numbers")

    def texts(self, name: str) -> list[str]:
        """A text, or a cell of texts. Raises `BadInput`."""
        return self._of(Texts, name, "texts")

    def rows(self, name: str) -> list[dict[str, Any]]:
        """A struct array: texts and numbers by field; None where a field is neither. Raises
        `BadInput`."""
        return self._of(Rows, name, "rows")

    def _of(self, kind: type, name: str, what: str) -> Any:
        value = self.values.get(name)
        if value is None:
            raise BadInput(f"task {self.task}: {self.path} has no {name}. Get it again.")
        if not isinstance(value, kind):
            raise BadInput(f"task {self.task}: {name} of {self.path} has no {what}. Get it again.")
        return value


class Texts(list[str]):
    """Told apart from rows."""


class Rows(list[dict[str, Any]]):
    """Told apart from texts."""


@lru_cache(maxsize=8)
def read(task: str, path: Path, names: tuple[str, ...], changed: str) -> Variables:
    """The variables with these names. `changed`: the file's stamp, so that it is read anew when it
    is another. Raises `BadInput`."""
    try:
        size = path.stat().st_size
        seconds = SECONDS + size // BYTES_A_SECOND
        done = subprocess.run(
            # by its path: by name, it would import the package around it
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
            f"task {task}: {path} is damaged, or no .mat file of version 5. Get it again."
        ) from error


def _parsed(content: bytes) -> dict[str, Any]:
    """The process's answer. Raises `ValueError`, `KeyError`, `TypeError` for another one."""
    place = content.index(b"\n") + 1
    values: dict[str, Any] = {}
    for name, of in json.loads(content[:place]).items():
        if "texts" in of:
            values[name] = Texts(of["texts"])
        elif "rows" in of:
            values[name] = Rows(of["rows"])
        else:
            dtype, shape = np.dtype(of["dtype"]), of["shape"]
            array = np.frombuffer(content, dtype, math.prod(shape), place)
            values[name] = array.reshape(shape[::-1]).T
            place += array.nbytes
    return values
