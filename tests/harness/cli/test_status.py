"""`harness status`: where a store stands, for people and for programs."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from made_up import cell, failure
from rich.console import Console
from status_rows import cells, done, store, text_of

from harness.cli import status as screen
from harness.engine.status import read
from harness.errors import BadInput
from harness.store import Cell, Store, new_owner

__all__ = ["cells", "store"]


def test_control_characters_from_a_store_never_reach_the_terminal(store: Store, cells: list[Cell]):
    store.add_failure(failure(cells[0], 0, "\x1b[31mred [bold]text"))
    store.lease([cells[1].key], "ho\x1bst/0/1/2", 60)
    said = text_of(read(store))
    assert "\x1b" not in said
    assert "red [bold]text" in said


def test_the_picture_fits_in_the_terminal_and_says_how_much_is_left_out(tmp_path: Path):
    store = Store(tmp_path / "many.db")
    many = [cell(f"vpt(prompts={number})") for number in range(200)]
    store.add_cells(many)
    store.lease([of.key for of in many], new_owner(), 60)
    for number, of in enumerate(many):
        store.add_failure(failure(of, 0, f"reason {number} " + "that is long " * 20))
    said = text_of(read(store), width=80, height=24)
    assert len(said.splitlines()) <= 24
    assert "more" in said


def test_a_store_that_is_not_there_is_one_line_and_exit_code_2(harness, tmp_path: Path):
    for more in ([], ["--watch"]):
        found = harness("status", "--store", str(tmp_path / "none.db"), *more)
        assert found.returncode == 2
        assert found.stderr.startswith("harness: there is no store ")
        assert len(found.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(BadInput, match="unknown format"):
        screen.show(Store(tmp_path / "none.db"), "xml", Console())


def test_json_has_it_all(harness, store: Store, cells: list[Cell]):
    done(cells[0], store, 60, 50)
    store.lease([cells[1].key], new_owner(), 60)
    found = json.loads(harness("status", "--store", str(store.file), "--format", "json").stdout)
    assert found["cells"] == {"all": 4, "done": 1, "under way": 1, "waiting": 2, "with gaps": 0}
    assert found["results"] == {"stored": 2, "wanted": 8}
    assert found["trials"] == {"complete": 2, "pruned": 0, "failed": 0, "wanted": 8}
    assert found["seconds_left"] is None
    assert [driver["state"] for driver in found["drivers"]] == ["alive"]
    assert found["under_way"][0]["variant"] == "vpt"


def watching(store: Store, *more: str, **streams) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "harness",
        "status",
        "--watch",
        "--store",
        str(store.file),
        *more,
    ]
    return subprocess.Popen(command, text=True, **streams)


def test_elsewhere_than_in_a_terminal_a_change_is_a_line_and_ctrl_c_ends_it_quietly(
    store: Store, cells: list[Cell]
):
    process = watching(store, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    first = process.stdout.readline()
    assert "0 done" in first
    assert "0 of 8 results" in first
    done(cells[0], store, 60, 50)
    assert "1 done" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "")


def test_in_a_terminal_it_is_a_picture_that_follows(store: Store, cells: list[Cell]):
    ours, theirs = pty.openpty()
    process = watching(store, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while b"0 done" not in seen:
            seen += os.read(ours, 4096)
        done(cells[0], store, 60, 50)
        while b"1 done" not in seen:
            seen += os.read(ours, 4096)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert b"Traceback" not in seen
    finally:
        process.kill()
        os.close(ours)


def test_no_search_is_read_and_neither_torch_nor_ray_is_imported(
    store: Store, cells: list[Cell], monkeypatch: pytest.MonkeyPatch
):
    done(cells[0], store, 60, 50)
    monkeypatch.setattr(Store, "trials", lambda *_: pytest.fail("the trials were read"))
    monkeypatch.setattr(Store, "results", lambda *_: pytest.fail("the results were read"))
    assert read(store).trials.total() == 2
    script = (
        "import sys, harness.cli.status; print({'torch', 'ray', 'pandas', 'optuna'} &"
        " set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout
        == "set()\n"
    )
