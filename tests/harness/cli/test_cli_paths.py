"""Every flag that takes a path takes a relative one, from any folder, and one that begins with ~:
with an empty cache, on workers too."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import folder_task
import pytest
from command_line import run_command
from places import REPOSITORY

from harness.cli import main as cli
from harness.planning.request import Request
from harness.store import Store

WEIGHTS = REPOSITORY / "harness" / "backbones" / "weights" / "mini_vit.safetensors"
MOVED = (
    "--data-root={at}/data",
    "--cards={at}/cards",
    "--backbone=mini_vit={at}/weights/mini.safetensors",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, harness) -> Iterator[Path]:
    """A user's folder after a run of which every path was relative, its cache's and its home's
    too."""
    folder = folder_task.make(tmp_path_factory.mktemp("project"))
    shutil.copyfile(WEIGHTS, folder / "weights" / "mini.safetensors")
    (folder / "sub").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VPT_HARNESS_CACHE", "./cache")
        patch.setenv("HOME", str(folder))
        done = harness(
            *(
                "run",
                "--methods",
                "linear,./mine.py:Mine",
                "--tasks",
                "squares",
                "--backbone",
                "mini_vit=weights/mini.safetensors",
            ),
            *(
                "--cards",
                "./cards",
                "--data-root=~/data",
                "--protocol",
                "./quick.toml",
                "--store",
                "sqlite:///sub/rel.db",
            ),
            *("--log-json", "logs/events.jsonl", "--tensorboard", "./curves", "--workers", "1"),
            cwd=folder,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        patch.setenv("VPT_HARNESS_CACHE", str(folder / "cache"))
        yield folder


def test_a_run_with_relative_paths_fills_all_its_cells(project: Path):
    store = Store(project / "sub" / "rel.db")
    assert sorted(cell.labels["variant"] for cell in store.cells().values()) == ["linear", "mine"]
    assert len(store.results()) == 2
    assert not store.failures()
    assert any(
        json.loads(line)["event"] == "ended"
        for line in (project / "logs" / "events.jsonl").read_text().splitlines()
    )
    assert list((project / "curves").rglob("events.out.*"))
    assert list((project / "cache" / "images").glob("*.bin"))
    assert (project / "sub" / "rel.html").is_file()


def test_what_a_row_needs_is_recorded_by_whole_paths(project: Path):
    inputs = {
        row.provenance["inputs"]["method"]: row.provenance["inputs"]
        for row in Store(project / "sub" / "rel.db").results()
    }
    assert set(inputs) == {"linear", f"{project}/mine.py:Mine"}
    assert inputs["linear"]["data_root"] == str(project / "data")
    assert inputs["linear"]["cards"] == str(project / "cards")
    assert inputs["linear"]["backbone"] == f"mini_vit={project}/weights/mini.safetensors"


@pytest.mark.parametrize("at", [".", "~"])
@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        (("report", "--store", "{at}/sub/rel.db", "-o", "{at}/out/board.md"), "out/board.md"),
        (
            (
                "report",
                "--store",
                "sqlite:///{at}/sub/rel.db",
                "--figure",
                "cost",
                "--output={at}/out/cost.png",
            ),
            "out/cost.png",
        ),
        (
            ("export", "{linear}", "{at}/out/tuned.safetensors", "--store={at}/sub/rel.db"),
            "out/tuned.safetensors",
        ),
        (
            (
                "reproduce",
                "{mine}",
                "--store={at}/sub/rel.db",
                "--export={at}/out/again.safetensors",
                "--method={at}/mine.py:Mine",
                *MOVED,
            ),
            "out/again.safetensors",
        ),
        (
            (
                "results",
                "export",
                "{at}/out/a.parquet",
                "--checkpoints={at}/out/c",
                "--store={at}/sub/rel.db",
            ),
            "out/c/{linear}.safetensors",
        ),
        (("results", "import", "{at}/sub/rel.db", "--store={at}/out/new.db"), "out/new.db"),
        (
            (
                "data",
                "prepare",
                "--data-root={at}/data",
                "--to={at}/out",
                "--cards={at}/cards",
                "--tasks=squares",
            ),
            "out/squares.prepared",
        ),
        (
            (
                "data",
                "export",
                "--data-root={at}/data",
                "--to={at}/out",
                "--cards={at}/cards",
                "--tasks=squares",
            ),
            "out/squares/test.txt",
        ),
        (
            ("data", "verify", "--data-root={at}/data", "--cards={at}/cards", "--tasks=squares"),
            None,
        ),
        (
            ("data", "status", "--data-root={at}/data", "--cards={at}/cards", "--tasks=squares"),
            None,
        ),
        (
            (
                "data",
                "keys",
                "squares",
                "--data-root={at}/data",
                "--cards={at}/cards",
                "--split=test",
            ),
            None,
        ),
        (("list", "tasks", "--cards={at}/cards"), None),
        (("store", "check", "--store={at}/sub/rel.db"), None),
        (
            (
                "run",
                "--dry-run",
                "--methods={at}/mine.py:Mine",
                "--tasks=squares",
                *MOVED,
                "--protocol={at}/quick.toml",
            ),
            None,
        ),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_a_command_finds_and_writes_where_its_flags_say(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    at: str,
    arguments: tuple[str, ...],
    made: str | None,
):
    monkeypatch.chdir(project)
    shutil.rmtree(project / "out", ignore_errors=True)
    (project / "out").mkdir()
    store = Store(project / "sub" / "rel.db")
    ids = {store.cells()[row.cell].labels["variant"]: row.id for row in store.results()}
    code = run_command(monkeypatch, *(part.format(at=at, **ids) for part in arguments))
    assert code == 0, "".join(capsys.readouterr())
    assert made is None or (project / made.format(**ids)).exists()
    assert not (project / "~").exists()


def test_a_request_holds_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    asked = Request(
        data_root=Path("data"),
        cards=Path("~/cards"),
        backbone="mini_vit=../w.npz",
        protocol="p.toml",
    )
    assert asked.data_root == tmp_path / "data"
    assert asked.cards == Path("/home/me/cards")
    assert asked.backbone == f"mini_vit={tmp_path}/../w.npz"
    assert asked.protocol == str(tmp_path / "p.toml")
    assert Request(backbone="mini_vit", protocol="mini") == Request(
        backbone="mini_vit", protocol="mini", data_root=None
    )


def test_somebody_without_a_home_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(
        sys, "argv", ["harness", "list", "tasks", "--cards", "~nobody-of-this-name/cards"]
    )
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "~nobody-of-this-name/cards: " in capsys.readouterr().err
