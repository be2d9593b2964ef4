"""Each part of Ray that isn't public, against the Ray that is installed: a test that fails names
the part that has changed."""

import ast
import atexit
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
import ray_parts
from ray._private import worker

import harness
from harness.engine import ray_private

RAY = Path(ray.__file__).parent
HARNESS = Path(harness.__file__).parent


def test_no_other_module_reaches_into_ray():
    private = ("ray._", "ray.experimental", "ray.air", "ray.core")
    for path in HARNESS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            if any(name.startswith(private) for name in names):
                assert path.name == "ray_private.py", path


@pytest.fixture(scope="module")
def live() -> dict[str, str]:
    """What each part of `ray_parts` came to."""
    run = subprocess.run(
        [sys.executable, ray_parts.__file__], capture_output=True, text=True, timeout=200
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("part", [part.__name__ for part in ray_parts.PARTS])
def test_a_part_of_a_live_ray_is_as_it_was(part: str, live: dict[str, str]):
    assert live[part] == ""


def test_raylets_reports_go_through_print_to_stdstream(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    # what Ray's thread for such reports calls, by this name
    assert "print_to_stdstream" in worker.listen_error_messages.__code__.co_names
    monkeypatch.setattr(worker, "print_to_stdstream", worker.print_to_stdstream)  # to be put back
    ray_private.silence_raylets()
    report = {"lines": ["a raylet has died"], "pid": "raylet", "is_err": False}
    worker.print_to_stdstream(report, ignore_prefix=False)
    assert capsys.readouterr() == ("", "")


def test_shutdown_is_what_ray_does_at_python_s_end(monkeypatch: pytest.MonkeyPatch):
    assert "\natexit.register(shutdown," in Path(worker.__file__).read_text()
    forgotten: list[Any] = []
    monkeypatch.setattr(atexit, "unregister", forgotten.append)
    ray_private.forget_shutdown()
    assert forgotten == [ray.shutdown]


def test_every_setting_of_the_environment_is_read_by_ray():
    unread = set(ray_private.ENVIRONMENT)
    for folder in ("tune", "train", "air", "_private", "_common"):
        for path in (RAY / folder).rglob("*.py"):
            text = path.read_text()
            unread -= {name for name in unread if name in text}
    assert not unread


def test_ray_words_the_death_of_a_node_so():
    gcs_server = RAY / "core" / "src" / "ray" / "gcs" / "gcs_server"
    assert ray_private.NODE_DIED.encode() in gcs_server.read_bytes()
