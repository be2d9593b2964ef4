"""Another package called `methods` on the path: said in a line where it would be imported, and no
matter where it wouldn't."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import REPOSITORY


@pytest.fixture
def research(tiny) -> Path:
    """A folder as many have it, with a package `methods` in it."""
    package = tiny.folder / "research" / "methods"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text("LAYERS = 3\n")
    return package.parent


def run(*command: object, cwd: Path, path: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "OMP_NUM_THREADS": "1"
    }
    environment |= {} if path is None else {"PYTHONPATH": path}
    return subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [("list", "methods"), ("run", "--methods", "linear", "--dry-run"), ("run",)],
    ids=" ".join,
)
def test_one_that_comes_first_is_named_in_one_line(research: Path, command: tuple[str, ...]):
    done = run(sys.executable, "-m", "harness", *command, cwd=research, path=f".:{REPOSITORY}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert (
        f"another package named 'methods', {research / 'methods'}, hides the harness's own"
        in done.stderr
    )
    assert "from PYTHONPATH, or rename" in done.stderr
    assert not (research / "results").exists()


def test_it_is_said_of_harness_load_too(research: Path):
    done = run(
        sys.executable,
        "-c",
        "import harness; harness.load('x')",
        cwd=research,
        path=str(REPOSITORY),
    )
    assert "BadInput: another package named 'methods'" in done.stderr
    assert "(it is the current folder)" in done.stderr


@pytest.mark.parametrize("path", [None, ""], ids=["unset", "empty"])
def test_it_is_said_where_there_is_no_pythonpath(research: Path, path: str | None):
    start = (
        f"import sys; sys.path.append({str(REPOSITORY)!r}); from harness.cli.main import main;"
        " sys.argv[1:] = ['list', 'methods']; main()"
    )
    done = run(sys.executable, "-c", start, cwd=research, path=path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "(it is the current folder)" in done.stderr


@pytest.mark.slow
def test_a_folder_that_is_only_the_current_one_disturbs_neither_driver_nor_workers(
    research: Path, tiny
):
    """Ray puts the current folder on its workers' path, which the command doesn't have on its
    own."""
    # as an installed command
    start = "import sys; del sys.path[0]; from harness.cli.main import main; main()"
    arguments = tiny.arguments(
        "--seeds", "0", "--trials", "1", "--workers", "1", methods="vpt-deep"
    )
    done = run(sys.executable, "-c", start, *arguments, cwd=research, path=str(REPOSITORY))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed" not in done.stdout
