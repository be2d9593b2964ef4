"""MATLAB's files are read in a process of its own, with limits."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import eye

from harness.data.readers import matlab
from harness.errors import BadInput


def test_numbers_keep_their_type_and_shape(tmp_path: Path):
    of = {
        "X": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        "y": np.array([[1.5], [-2.0]]),
        "z": np.arange(3, dtype=np.int16),
    }
    for compressed in (True, False):
        path = tmp_path / f"{compressed}.mat"
        savemat(path, of, do_compression=compressed)
        found = matlab.read("tiny", path, ("X", "y", "z"), "1")
        for name in of:
            assert found.numbers(name).dtype == of[name].dtype
            assert np.array_equal(found.numbers(name), np.atleast_2d(of[name]))


def test_texts_and_rows(tmp_path: Path):
    cars = np.array([("a.jpg", 1), ("b.jpg", 2)], dtype=[("fname", object), ("class", object)])
    savemat(
        tmp_path / "a.mat",
        {"cars": cars, "list": np.array(["x", "yé"], object), "one": "text"},
        do_compression=True,
    )
    found = matlab.read("tiny", tmp_path / "a.mat", ("cars", "list", "one"), "1")
    assert found.rows("cars") == [{"fname": "a.jpg", "class": 1}, {"fname": "b.jpg", "class": 2}]
    assert found.texts("list") == ["x", "yé"]
    assert found.texts("one") == ["text"]
    for read, name, message in (
        (found.numbers, "cars", r"cars of .*a\.mat has no numbers"),
        (found.rows, "list", r"list of .*a\.mat has no rows"),
        (found.texts, "absent", r"a\.mat has no absent"),
    ):
        with pytest.raises(BadInput, match=message):
            read(name)


@pytest.mark.parametrize(
    "value",
    [np.array([1j]), eye(3), np.array([np.array(["x", np.arange(3)], object), "y"], object)],
    ids=["complex", "sparse", "cells in cells"],
)
def test_what_no_list_has_is_refused(tmp_path: Path, value: object):
    savemat(tmp_path / "a.mat", {"x": value})
    with pytest.raises(BadInput, match="is damaged"):
        matlab.read("tiny", tmp_path / "a.mat", ("x",), "1")


def test_a_file_of_another_version_is_refused(tmp_path: Path):
    savemat(tmp_path / "a.mat", {"x": np.arange(3.0)}, format="4")
    with pytest.raises(BadInput, match=r"not a \.mat file of version 5"):
        matlab.read("tiny", tmp_path / "a.mat", ("x",), "1")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may limit less")
@pytest.mark.parametrize(
    ("attack", "ends"),
    [
        ("bytes(500_000_000)", "MemoryError"),
        ("while True: pass", ""),
        ("open('written', 'w').write('x' * 99999)", "OSError|File too large"),
        ("print('alive')", None),
    ],
)
def test_the_process_has_its_limits(tmp_path: Path, attack: str, ends: str | None):
    program = (
        f"import sys; sys.path.insert(0, {str(matlab.PROCESS.parent)!r})\n"
        f"import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"import matlab_process\nmatlab_process.limit(100_000_000, 1)\n{attack}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode == 0) == (ends is None), done.stderr
    if ends:
        assert any(end in done.stderr for end in ends.split("|")), done.stderr
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0


def test_a_process_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "sleeps.py").write_text("import time; time.sleep(99)")
    monkeypatch.setattr(matlab, "PROCESS", tmp_path / "sleeps.py")
    monkeypatch.setattr(matlab, "SECONDS", 0.02)
    (tmp_path / "a.mat").write_bytes(b"")
    with pytest.raises(BadInput, match="is damaged"):
        matlab.read("tiny", tmp_path / "a.mat", ("x",), "1")
