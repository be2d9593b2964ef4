"""Answers that are kept hold as long as the code that they follow from, and not a write longer.

Each process here is a new one, since what is imported decides.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

KEEP = "import pack.inner; answers.keep('kind', [1], {'said': 1}, [Path('weights')])"
RECALL = "print(answers.recalled('kind', [1]))"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder, with a package and a file of weights, old enough to be relied on."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "pack").mkdir()
    for name in ("__init__", "inner"):
        (folder / "pack" / f"{name}.py").write_text("value = 1\n")
    (folder / "weights").write_text("1")
    time.sleep(2.2)
    return folder


@pytest.fixture
def project(made: Path) -> Path:
    """With an answer that holds."""
    assert process(made, KEEP) == ""
    assert process(made, RECALL) == "{'said': 1}"
    return made


def process(folder: Path, code: str, **environment: str) -> str:
    """What a new Python prints that has `folder` on its path."""
    places = os.pathsep.join([str(folder), *sys.path])
    environment = {"VPT_HARNESS_CACHE": str(folder / "cache"), **environment}
    begin = "from pathlib import Path; from harness.io import answers; "
    done = subprocess.run(
        [sys.executable, "-B", "-P", "-c", begin + code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": places, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def edit_in_secret(pack: Path) -> None:
    """Another text of the same size, with the old time."""
    file = pack / "inner.py"
    before = file.stat()
    file.write_text("value = 2\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(pack: Path) -> None:
    (pack / "part").write_text("value = 1\n")
    (pack / "part").replace(pack / "inner.py")


def add_beside(pack: Path) -> None:
    (pack / "optional.py").write_text("")


def touch_weights(pack: Path) -> None:
    (pack / "weights").write_text("1")


CHANGES = (edit_in_secret, replace, add_beside, touch_weights)


def test_a_change_ends_it_for_good(tmp_path: Path):
    for number in range(len(CHANGES)):
        pack = tmp_path / f"pack{number}"
        pack.mkdir()
        (pack / "weights").write_text("1")
        for name in ("__init__", "inner"):
            (pack / f"{name}.py").write_text("value = 1\n")
    time.sleep(2.2)
    for number in range(len(CHANGES)):
        keep = f"import pack{number}.inner; files = [Path('pack{number}/weights')]; "
        process(tmp_path, f"{keep}answers.keep('kind', [{number}], 'holds', files)")
    every = f"print(*(answers.recalled('kind', [n]) for n in range({len(CHANGES)})))"
    assert process(tmp_path, every).split() == ["holds"] * len(CHANGES)
    for number, change in enumerate(CHANGES):
        change(tmp_path / f"pack{number}")
    time.sleep(2.2)  # else the files would only be too young
    assert process(tmp_path, every).split() == ["None"] * len(CHANGES)


def test_another_package_of_that_name_hides_it(project: Path, tmp_path: Path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("value = 2\n")
    places = os.pathsep.join([str(tmp_path), str(project), *sys.path])
    assert process(project, RECALL, PYTHONPATH=places) == "None"
    assert process(project, RECALL) == "{'said': 1}"


def test_of_a_file_that_changed_after_the_start_nothing_is_kept(project: Path):
    for file in (project / "cache" / "answers").iterdir():
        file.unlink()
    edited = "import pack.inner; Path('pack/inner.py').write_text('value = 3\\n'); " + KEEP
    assert process(project, edited) == ""
    assert process(project, RECALL) == "None"
    time.sleep(2.2)  # for those that come next


def test_python_s_cache_is_no_change(tmp_path: Path):
    """As in a checkout whose modules are compiled by the first command."""
    folder = tmp_path / "checkout"
    (folder / "outer" / "pack").mkdir(parents=True)
    for name in ("__init__", "pack/__init__", "pack/inner"):
        (folder / "outer" / f"{name}.py").write_text("value = 1\n")
    time.sleep(2.2)
    keep = "import sys; sys.dont_write_bytecode = False; import outer.pack.inner; "
    keep += "assert Path('outer/pack/__pycache__').is_dir(); "
    assert process(folder, keep + "answers.keep('kind', [1], {'said': 1})") == ""
    time.sleep(2.2)
    assert process(folder, RECALL) == "{'said': 1}"


@pytest.mark.parametrize("new", ["pack/other.py", "pack/other", "pack/inner"])
def test_what_comes_before_it_is_kept_is_a_change(tmp_path: Path, new: str):
    """A module, a package, and one that hides a module that was imported."""
    folder = tmp_path / "project"
    (folder / "pack").mkdir(parents=True)
    for name in ("__init__", "inner"):
        (folder / "pack" / f"{name}.py").write_text("value = 1\n")
    time.sleep(2.2)
    make = "touch" if new.endswith(".py") else "mkdir"
    keep = f"import pack.inner; Path({new!r}).{make}(); answers.keep('kind', [1], {{'said': 1}})"
    assert process(folder, keep) == ""
    time.sleep(2.2)
    assert process(folder, RECALL) == "None"


def test_what_is_broken_or_cant_be_written_is_no_answer(project: Path):
    (kept,) = (project / "cache" / "answers").iterdir()
    text = kept.read_text()
    for broken in ("", text[:100], "[]", '{"code": 1, "answer": 1}'):
        kept.write_text(broken)
        assert process(project, RECALL) == "None"
    assert process(project, KEEP, VPT_HARNESS_CACHE="/sys/vpt-harness") == ""


def test_the_oldest_are_deleted(project: Path):
    many = "import pack; [answers.keep('kind', [n], n) for n in range(2, answers.MANY + 3)]"
    assert process(project, many) == ""
    assert process(project, RECALL) == "None"
    assert process(project, "print(answers.recalled('kind', [answers.MANY + 2]))") == "34"
