"""Where tests are: under the room and the name of what they test; what collecting them needs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
TESTS = REPOSITORY / "tests"

WHOLE = {
    "test_bounds": "pyproject.toml",
    "test_cluster_docs": "docs/cluster.md and the files it names",
    "test_docs": "README.md, docs/",
    "test_docs_commands": "README.md, docs/: every command, run",
    "test_hostile": "SECURITY.md: files that were made to harm, for every reader",
    "test_imports": "the order of imports",
    "test_inputs": "docs/inputs.md: one promise, from flags to the page",
    "test_layout": "this",
    "test_package": "the wheel",
    "test_tutorial": "docs/tutorial.ipynb",
    "test_site": "the site that `make docs` builds",
}
"""Tests of the whole project, right in `tests/`, and what each is about."""

EXCEPTIONS = {
    "methods/test_backbones": "every method, on every family of backbones",
    "methods/test_cuda": "every method, on a GPU",
    "methods/test_cuda_rules": "every method, by what CUDA would make of it",
    "methods/test_folding": "methods that fold into the backbone, by the same tests",
    "methods/test_reference_points": "bitfit, full, lora and ssf, by the same tests",
    "methods/test_registered": "what holds for every method",
    "methods/test_sources": "every method's version and code",
    "methods/test_training": "every method, trained",
    "harness/reporting/test_overlap": "one note, in all forms of a report",
    "harness/reporting/test_scales": "one kind of column, in all forms of a report",
    "harness/reporting/test_synthetic_store": "tests/support's store for the reports' tests",
}
"""Tests that no single module or room is the subject of, and why."""

ABSENT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"psycopg", "selenium", "tensorboard"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import pytest
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def names(folder: Path) -> set[str]:
    """Modules and rooms of a folder of code, and its own name: a test may be of the whole room."""
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    rooms = {path.parent.name for path in folder.glob("*/__init__.py")}
    return modules | rooms | {folder.name}


def misplaced(tests: Path, code: Path) -> list[str]:
    """Tests that are named after nothing in the folder of code that theirs mirrors. After a module
    or room comes, where one file isn't enough, `_` and an aspect of it."""
    found = []
    for path in sorted(tests.rglob("test_*.py")):
        name, folder = path.stem.removeprefix("test_"), code / path.parent.relative_to(tests)
        known = names(folder) if folder.is_dir() else set()
        if not any(name == one or name.startswith(f"{one}_") for one in known):
            found.append(f"{tests.name}/{path.relative_to(tests).with_suffix('')}")
    return found


def test_tests_mirror_the_tree():
    unnamed = [
        place
        for part in ("harness", "methods", "benchmarks", "scripts")
        for place in misplaced(TESTS / part, REPOSITORY / part)
    ]
    assert set(unnamed) == set(EXCEPTIONS), "each by what it tests, or with a reason in EXCEPTIONS"


def test_a_misplaced_test_is_seen(tmp_path: Path):
    for name in ("harness/data/cache.py", "harness/data/readers/__init__.py"):
        (tmp_path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / name).touch()
    for name in ("cache", "cache_full", "data", "readers_tf", "caches", "splits"):
        at = tmp_path / "harness" / "data" / f"test_{name}.py"
        at.parent.mkdir(parents=True, exist_ok=True)
        at.touch()
    wrong = misplaced(tmp_path / "harness", tmp_path / "code" / "harness")
    assert wrong == ["harness/data/test_caches", "harness/data/test_splits"]


def test_tests_of_the_whole_are_few():
    assert {path.stem for path in TESTS.glob("test_*.py")} == set(WHOLE)


@pytest.mark.slow
def test_collecting_needs_no_database_driver_browser_or_tensorboard():
    optional = re.compile("psycopg|postgres|selenium|chromium|tensorboard|pdflatex")
    files = [path for path in TESTS.rglob("test_*.py") if optional.search(path.read_text())]
    run = subprocess.run(
        [sys.executable, "-c", ABSENT, *map(str, files)],
        cwd=REPOSITORY,
        env={"PATH": ""},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:]
