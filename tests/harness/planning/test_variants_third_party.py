"""A method from somebody else's package, found by its entry point, works like a built-in one."""

import os
import subprocess
import sys

import pytest

from harness.store import Store


@pytest.mark.slow
def test_a_package_with_an_entry_point(tiny):
    site = tiny.folder / "site"
    info = site / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[harness.methods]\ntheirs = theirs:Theirs\nbroken = absent_module:X\n"
    )
    (site / "theirs.py").write_text(
        "from methods.vpt import VPTDeep\n\nclass Theirs(VPTDeep):\n    name = 'theirs'\n   "
        " summary = 'a method of theirs'\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "100", "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness", *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=200, check=False
        )

    done = run(*tiny.arguments("--seeds", "0", "--trials", "1", methods="theirs(prompts=2)"))
    assert done.returncode == 0, done.stderr
    (cell,) = Store(tiny.store).cells().values()
    assert cell.labels["variant"] == "theirs(prompts=2)"
    assert len(Store(tiny.store).results()) == 1
    refused = run("run", "--methods", "broken")
    assert refused.returncode == 2
    assert "method 'broken' can't be imported from absent_module:X" in refused.stderr
    listed = run("list", "methods")
    assert listed.returncode == 0, listed.stderr
    assert "a method of theirs" in listed.stdout
