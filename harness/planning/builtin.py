"""The package `methods` of this harness: many research folders have one of that name too."""

import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from harness.errors import BadInput

HERE = Path(__file__).resolve().parent.parent.parent
"""The folder that contains both packages, `harness` and `methods`."""


def check() -> None:
    """Raises `BadInput` if `import methods` would import a package other than the one next to
    `harness`."""
    spec = importlib.util.find_spec("methods")
    location = (
        [*(spec.submodule_search_locations or []), spec.origin][0] if spec is not None else None
    )
    if location is None or Path(location).resolve() == HERE / "methods":
        return
    holds = Path(location).parent
    python_path = os.environ.get("PYTHONPATH")
    if python_path and holds.resolve() in {
        Path(entry or ".").resolve() for entry in python_path.split(os.pathsep)
    }:
        why, remedy = " (by PYTHONPATH)", f"remove {holds} from PYTHONPATH"
    elif holds.resolve() == Path.cwd():
        why, remedy = " (it is the current folder)", "start the command `harness` in another folder"
    else:
        why, remedy = "", f"remove {holds} from Python's path"
    raise BadInput(
        f"another package named 'methods', {location}, hides the harness's own: {holds} comes first"
        f" on Python's path{why}. To fix this, {remedy}, or rename that package."
    )


def pin() -> None:
    """Imports the `methods` next to `harness`, whatever comes first on the path. For workers: Ray
    puts the driver's folder first."""
    if "methods" in sys.modules:
        return
    spec = PathFinder.find_spec("methods", [str(HERE)])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["methods"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
