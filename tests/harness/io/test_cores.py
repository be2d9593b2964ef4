"""What the harness does about a machine's cores and threads."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.io.cores import processor

SHOWN = """
import os, sys
import harness.cli.main as command
command.app = lambda **_: print(os.environ["OMP_WAIT_POLICY"], "torch" in sys.modules)
command.main()
"""


@pytest.mark.parametrize(("before", "after"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_that_wait_sleep_unless_the_user_says_otherwise(
    before: str | None, after: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if before:
        monkeypatch.setenv("OMP_WAIT_POLICY", before)
    shown = subprocess.run(
        [sys.executable, "-c", SHOWN], capture_output=True, text=True, check=True
    )
    assert shown.stdout == f"{after} False\n", "OpenMP reads it when torch is imported"


def test_the_processor_is_the_first_core(tmp_path: Path):
    listed = tmp_path / "cpuinfo"
    listed.write_text(
        "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: A: first\n\n"
        "processor\t: 1\nvendor_id\t: AuthenticAMD\nmodel name\t: B\n"
    )
    assert processor("vendor_id", listed) == "GenuineIntel"
    assert processor("model name", listed) == "A: first"
    assert processor("model", listed) is None, "another field that begins so"
    assert processor("vendor_id", tmp_path / "none") is None
