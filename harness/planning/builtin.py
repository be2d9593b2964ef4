"""The package `methods` that belongs to this harness: many a research folder has one of that name
too."""

import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from harness.errors import BadInput

HERE = Path(__file__).resolve().parent.parent.parent
"""What holds both packages, `harness` and `methods`."""


def check() -> None:
    """Raises `BadInput` where `import methods` would give another package than the one beside
    `harness`."""
    spec = importlib.util.find_spec("methods")
    found = [*(spec.submodule_search_locations or []), spec.origin][0] if spec is not None else None
    if found is None or Path(found).resolve() == HERE / "methods":
        return
    holds = Path(found).parent
    given = os.environ.get("PYTHONPATH")
    if given and holds.resolve() in {
        Path(entry or ".").resolve() for entry in given.split(os.pathsep)
    }:
        why, mend = " (by PYTHONPATH)", f"remove {holds} from PYTHONPATH"
    elif holds.resolve() == Path.cwd():
        why, mend = " (it is the current folder)", "start the command `harness` in another folder"
    else:
        why, mend = "", f"remove {holds} from Python's path"
    raise BadInput(
        f"another package named 'methods', {found}, hides the harness's own: {holds} comes first"
        f" on Python's path{why}. To fix this, {mend}, or rename that package."
    )


def pin() -> None:
    """Imports `methods` from beside `harness`, whatever comes first on the path. For workers: Ray
    puts the driver's folder there."""
    if "methods" in sys.modules:
        return
    spec = PathFinder.find_spec("methods", [str(HERE)])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["methods"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
