"""Several scales, added to stored rows by their checkpoints."""

import dataclasses
from pathlib import Path

import pytest
from command_line import run_command
from segmentation import filled, stored

from harness.inference import checkpoint_files
from harness.store import Store
from harness.training.segmentation import Segmentation

__all__ = ["filled", "stored"]


def test_several_scales_are_added_to_a_stored_row_without_training(
    stored: Store, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setattr(Segmentation, "rounds", lambda *_: pytest.fail("trained again"))
    before = stored.results()
    assert (
        run_command(monkeypatch, "results", "multi-scale", before[0].id[:6], "--store", stored.name)
        == 0
    )
    first, second = stored.results()
    assert "miou_ms" in first.extras
    assert dataclasses.replace(first, extras=before[0].extras) == before[0]
    assert first.extras.items() > before[0].extras.items()
    assert second == before[1]
    assert run_command(monkeypatch, "results", "multi-scale", "--store", stored.name) == 0
    said = capsys.readouterr().out
    assert (
        f"{second.id}: vpt-deep on halves, seed 3: mIoU {second.score:.2f} at one scale, " in said
    )
    assert "1 result already had it." in said
    assert all("miou_ms" in row.extras for row in stored.results())


def test_a_lost_checkpoint_stops_no_other_row(
    stored: Store, monkeypatch: pytest.MonkeyPatch, capsys
):
    first, second = stored.results()
    checkpoint_files.find(stored, first).unlink()
    assert run_command(monkeypatch, "results", "multi-scale", "--store", stored.name) == 2
    said = capsys.readouterr()
    assert f"result {first.id} has no checkpoint" in said.err
    assert f"{second.id}: " in said.out
    assert ["miou_ms" in row.extras for row in stored.results()] == [False, True]


def test_what_has_no_several_scales_is_one_line(
    stored: Store, monkeypatch: pytest.MonkeyPatch, capsys
):
    first, second = stored.results()
    checkpoint_files.find(stored, first).write_bytes(
        checkpoint_files.find(stored, second).read_bytes()
    )
    torn = stored.checkpoints / f"{second.id}.safetensors"
    torn.unlink()
    assert (
        run_command(monkeypatch, "results", "multi-scale", second.id, "--store", stored.name) == 2
    )
    assert f"result {second.id} has no checkpoint" in capsys.readouterr().err
    monkeypatch.setattr("harness.engine.multi_scale.CUDA_TOLERANCE", -1.0)
    assert run_command(monkeypatch, "results", "multi-scale", first.id, "--store", stored.name) == 2
    assert f"it isn't the checkpoint of {first.id}" in capsys.readouterr().err
    assert (
        run_command(
            monkeypatch, "results", "multi-scale", "--methods", "full", "--store", stored.name
        )
        == 2
    )
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_results_travel_with_their_extras_and_checkpoints(
    stored: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    there = Store(tmp_path / "there.db")
    assert (
        run_command(
            monkeypatch, "results", "import", stored.name, "--checkpoints", "--store", there.name
        )
        == 0
    )
    assert there.results() == stored.results()
    assert run_command(monkeypatch, "results", "multi-scale", "--store", there.name) == 0
    assert run_command(monkeypatch, "results", "import", there.name, "--store", stored.name) == 0
    assert run_command(monkeypatch, "store", "check", "--store", there.name) == 0
