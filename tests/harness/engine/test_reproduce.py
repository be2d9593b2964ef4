"""Making a row again: equal, or why not. Without Ray: the scheduler and a trainer in this
process."""

import dataclasses
import json

import numpy as np
import pytest
from in_process import fill

from harness.cli import main as cli
from harness.engine.reproduce import Reproduction, differences, reproduce
from harness.errors import BadInput
from harness.planning.plan import plan
from harness.store import Store
from methods.ivpt import IVPT
from methods.vpt import VPTDeep


@pytest.fixture
def stored(tiny):
    """A store with one finished cell of vpt-deep on the toy task."""
    run = plan(tiny.request("vpt-deep", seeds=(3,)))
    store = Store(tiny.store)
    fill(run, store)
    return store


def test_a_row_made_again_has_the_same_logits(stored):
    (result,) = stored.results()
    found, cell = stored.result(result.id[:5])
    comparison = reproduce(found, cell, None, None, None)
    assert comparison.equal
    assert comparison.score == result.score
    assert comparison.differences == ()


def test_a_score_that_somebody_changed_is_not_equal_though_the_logits_are(stored):
    (result,) = stored.results()
    forged = dataclasses.replace(result, score=99.0, provenance={"device": "NVIDIA H200"})
    made_again = Reproduction(forged, 84.67, result.logits_sha256, (), tolerance=20.0)
    assert not made_again.equal
    assert not made_again.within_tolerance
    assert str(made_again) == (
        "not equal: the logits are the stored ones, and their score is 84.67. The stored score,"
        " 99.00, was altered"
    )


def test_what_differs_is_said(stored):
    (result,) = stored.results()
    other = dataclasses.replace(result, logits_sha256="0" * 64, score=result.score - 1)
    comparison = Reproduction(other, result.score, result.logits_sha256, ())
    assert not comparison.equal
    assert not comparison.within_tolerance
    on_cuda = dataclasses.replace(
        other, provenance={"device": "NVIDIA H200"}, score=result.score - 0.2
    )
    near = Reproduction(on_cuda, result.score, result.logits_sha256, ())
    assert near.within_tolerance
    assert str(near).endswith("different logits; rounding may move this method by 0.5 points")
    far = dataclasses.replace(on_cuda, score=result.score - 3)
    assert not Reproduction(far, result.score, result.logits_sha256, ()).within_tolerance
    moves = Reproduction(far, result.score, result.logits_sha256, (), tolerance=IVPT.rounding)
    assert moves.within_tolerance
    on_cpu = dataclasses.replace(far, provenance={"device": "cpu"})
    assert not dataclasses.replace(moves, stored=on_cpu).within_tolerance
    before = {"versions": {"torch": "2.9"}, "threads": 1}
    assert differences(before, {"versions": {"torch": "2.10"}, "threads": 2}) == (
        "torch 2.9 -> 2.10",
        "threads 1 -> 2",
    )


def test_changed_data_or_a_changed_method_is_refused(stored, tiny, monkeypatch: pytest.MonkeyPatch):
    (result,) = stored.results()
    cell = stored.cells()[result.cell]
    said = rf"its method has changed \(version: {VPTDeep.version} -> 99\)"
    monkeypatch.setattr(VPTDeep, "version", "99")
    with pytest.raises(BadInput, match=said):
        reproduce(result, cell, None, None, None)
    monkeypatch.undo()
    with np.load(tiny.cards / "toy.npz") as arrays:
        changed = {**arrays, "test_labels": arrays["test_labels"][::-1]}
    np.savez(tiny.cards / "toy.npz", allow_pickle=False, **changed)
    with pytest.raises(BadInput, match="its task has changed"):
        reproduce(result, cell, None, None, None)


def test_a_report_can_go_to_a_file(
    stored, tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import sys

    for name in ("table", "md", "csv", "json"):
        file = tiny.folder / f"board.{name}"
        monkeypatch.setattr(
            sys,
            "argv",
            ["harness", "report", "--store", str(tiny.store), "--format", name, "-o", str(file)],
        )
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 0
        assert "vpt-deep" in file.read_text()
    assert json.loads((tiny.folder / "board.json").read_text())["rows"][0]["n"] == 1
    assert capsys.readouterr().out == ""


def test_a_row_without_a_checkpoint_is_made_again_for_one(
    stored, tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import sys

    from PIL import Image

    (result,) = stored.results()

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return captured.out if end.value.code == 0 else captured.err

    file, image = tiny.folder / "tuned.safetensors", tiny.folder / "grey.png"
    refused = call("export", result.id, str(file), "--store", str(tiny.store))
    assert f"harness reproduce {result.id} --export {result.id}.safetensors " in refused
    assert "equal: " in call(
        "reproduce", result.id, "--store", str(tiny.store), "--export", str(file)
    )
    Image.new("L", (20, 30), 100).save(image)
    assert "class " in call("predict", str(file), str(image), "--top", "9")
    (found,) = json.loads(call("predict", str(file), str(image), "--format", "json"))
    assert found["image"] == str(image)
    assert len(found["logits"]) == len(found["top"]) == 3
    folder = stored.checkpoints
    folder.mkdir()
    (folder / f"{result.id}.safetensors").write_bytes(file.read_bytes())
    assert "vpt-deep on toy, seed 3" in call(
        "export", result.id, str(tiny.folder / "copy.safetensors"), "--store", str(tiny.store)
    )
    assert (tiny.folder / "copy.safetensors").read_bytes() == file.read_bytes()


def test_the_command_says_it_and_its_exit_code(
    stored, tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import sys

    (result,) = stored.results()
    monkeypatch.setattr(
        sys, "argv", ["harness", "reproduce", result.id, "--store", str(tiny.store)]
    )
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert f"equal: {result.score:.2f}" in capsys.readouterr().out
