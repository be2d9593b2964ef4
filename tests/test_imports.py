"""The order of imports: that it holds, that a break of it is seen, and that its picture is of the
code."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import imports_picture
import pytest

REPOSITORY = Path(__file__).parent.parent
LINT = (
    "import importlinter.cli as c, sys; sys.exit(c.lint_imports('pyproject.toml', no_cache=True))"
)


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the packages in a folder, by the contracts beside them."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", LINT], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_imports_go_one_way():
    run = lint(REPOSITORY)
    assert run.returncode == 0, run.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    for package in ("harness", "methods"):
        only_code = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.npz")
        shutil.copytree(REPOSITORY / package, folder / package, ignore=only_code)
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    return folder


@pytest.mark.parametrize(
    ("module", "imports", "contract"),
    [
        ("harness/io/atomic.py", "from harness.store import Store", "only rooms below"),
        ("harness/reporting/section.py", "import harness.engine.jobs", "only rooms below"),
        ("harness/planning/cost.py", "from harness import api", "only rooms below"),
        (
            "harness/data/splits.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from harness import Method",
            "only rooms below",
        ),
        (
            "harness/store/url.py",
            "def lazily():\n    from harness.cli import main",
            "only rooms below",
        ),
        ("methods/lora.py", "from harness.backbones.vit import FrozenViT", "public names"),
        ("harness/planning/builtin.py", "from methods import vpt", "entry points alone"),
        ("harness/engine/jobs.py", "from harness.engine.policy import Policy", "no circles"),
    ],
)
def test_a_break_is_seen(copy: Path, module: str, imports: str, contract: str):
    path = copy / module
    before = path.read_text()
    path.write_text(f"{before}\n{imports}\n")
    run = lint(copy)
    path.write_text(before)
    assert run.returncode == 1
    broken = [line for line in run.stdout.splitlines() if line.endswith("BROKEN")]
    assert any(contract in line for line in broken), run.stdout


def test_few_modules_lie_flat():
    flat = [path.name for path in (REPOSITORY / "harness").glob("*.py")]
    assert len(flat) <= 6, f"each of {flat} belongs into a room"


def test_the_picture_is_of_the_code():
    assert imports_picture.PICTURE.read_text() == imports_picture.drawn(), (
        "run scripts/imports_picture.py"
    )


def test_the_picture_shows_every_room_and_no_more_than_twelve():
    order = imports_picture.order()
    folders = {path.parent.name for path in REPOSITORY.glob("harness/*/__init__.py")}
    rooms = {f"harness.{name}" for name in folders - {*imports_picture.PUBLIC}}
    assert set(order) == {*rooms, "methods", "harness"}
    assert len(rooms | {"methods"}) <= 12


def test_an_arrow_against_the_order_is_drawn_as_one(monkeypatch: pytest.MonkeyPatch):
    assert 'class="against"' not in imports_picture.drawn()
    monkeypatch.setattr(imports_picture, "arrows", lambda: {"harness.io": {"harness.cli"}})
    assert 'class="against"' in imports_picture.drawn()
