"""Segmentation through the whole engine: plan, scheduler, worker, cost, preview, checkpoint,
reproduce. Without Ray but for the last test."""

import base64
import dataclasses
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from driving import rows, start, wait_for
from PIL import Image
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import save_file
from segmentation import fill, planned, with_segmentation

from harness.cli import main as cli
from harness.data.loader import TuningData, open_final
from harness.engine.jobs import FinalJob, Outcome, TuneJob
from harness.engine.progress import ProgressView
from harness.engine.reproduce import reproduce
from harness.engine.worker import Trainer
from harness.errors import BadInput
from harness.inference import checkpoint
from harness.inference.overlay import palette
from harness.planning.cost import cell_cost, windows
from harness.planning.dry_run import preview
from harness.planning.plan import Request, plan
from harness.reporting.ablation import ablation, table
from harness.reporting.show import text
from harness.store import Store
from harness.tasks.cards import load_cards
from harness.training import segmentation as segment
from harness.training.classification import Score
from harness.training.sliding import measure

CPU = torch.device("cpu")
WINDOWS = 2
"""Of an image of 30 x 40 for a crop of 30."""


@pytest.fixture
def seg(tiny):
    return with_segmentation(tiny)


@pytest.fixture
def stored(seg) -> Store:
    """A store with the finished cells of `linear` and `vpt-deep`, a seed each, and checkpoints
    beside it."""
    run, store = planned(seg, "linear,vpt-deep", seeds=(3,)), Store(seg.store)
    fill(run, store, Trainer(run, threads=1, keep=checkpoint.Keep(store.checkpoints)))
    return store


def outcomes(trainer: Trainer, job) -> tuple[list[Score], list[Outcome]]:
    *scores, last = trainer.run(job)
    return scores, last


def test_a_cell_is_tuned_on_val_and_scored_once_on_test_with_its_extras(stored: Store):
    cells = stored.cells()
    results = {cells[result.cell].labels["variant"]: result for result in stored.results()}
    assert set(results) == {"linear", "vpt-deep"}
    for variant, result in results.items():
        assert cells[result.cell].labels["metric"] == "miou"
        assert 0 <= result.score <= 100
        assert set(result.extras) == {"pixel_accuracy", "class_iou", "strip"}
        dark, bright, never = result.extras["class_iou"]
        found = [iou for iou in (dark, bright, never) if iou is not None]
        assert result.score == pytest.approx(sum(found) / len(found), abs=1e-9)
        assert list(result.curve) == [8]
        assert result.units == 2 * 8 * 4 + WINDOWS * 4
        assert result.trainable == (0 if variant == "linear" else 4 * result.params["prompts"] * 96)
        trials = stored.trials(result.cell)
        assert len(trials) == 2
        assert all(
            set(trial.params) == ({"base_lr"} if variant == "linear" else {"base_lr", "prompts"})
            for trial in trials
        )
        assert all(trial.curve.keys() == {4, 8} for trial in trials if trial.state == "complete")
        assert all(
            trial.units == 2 * 8 * 4 + 2 * WINDOWS * 3
            for trial in trials
            if trial.state == "complete"
        )


def test_tuning_never_sees_test_and_head_only_runs_draw_their_crops_anew(seg):
    run = planned(seg, "linear")
    trainer = Trainer(run, threads=1)
    assert not run.cells[0].constant_features
    scores, (outcome,) = outcomes(trainer, TuneJob(run.cells[0].key, ((0, {"base_lr": 0.3}),)))
    assert [score.epoch for score in scores] == [4]
    assert outcome.reason is None
    (data,) = trainer.warm.values()
    assert isinstance(data, TuningData)


def test_a_row_made_again_is_equal_and_a_smaller_micro_batch_is_another_run(stored: Store, seg):
    for result in stored.results():
        comparison = reproduce(result, stored.cells()[result.cell], None, None, None)
        assert comparison.equal
        assert comparison.score == result.score
    run = planned(seg, "linear", seeds=(3,))
    _, (part,) = outcomes(
        Trainer(run, threads=1), FinalJob(run.cells[0].key, (3,), {"base_lr": 0.3}, micro_batch=1)
    )
    assert part.reason is None
    assert part.provenance is not None
    assert part.provenance["micro_batch"] == 1


def test_the_loaded_checkpoint_makes_the_maps_that_were_scored(stored: Store, seg):
    for result in stored.results():
        tuned = checkpoint.load(checkpoint.find(stored, result))
        cell = stored.cells()[result.cell]
        card = load_cards(seg.cards)["halves"]
        test = open_final(card, None, tuned.size, cell.identity["task"]["data"]).test
        assert (tuned.size, tuned.origin.crop) == (30, 30)
        assert measure(tuned.model, test, card.classes, CPU).sha256 == result.logits_sha256
        assert not [name for name in checkpoint.tuned_tensors(tuned.model) if "auxiliary" in name]


def test_the_key_holds_what_a_score_depends_on_and_nothing_else(seg):
    def key(**changes) -> str:
        return planned(seg, "vpt-deep", **changes).cells[0].key

    before = key()
    assert key(seeds=(9,)) == before
    assert key(trials=3) != before
    said, card = seg.protocol.read_text(), (seg.cards / "halves.toml").read_text()
    for changed, same in (
        (said.replace("iterations = 8", "iterations = 9"), False),
        (said.replace("epochs = 2", "epochs = 3", 1), True),
    ):
        seg.protocol.write_text(changed)
        assert (key() == before) is same
    seg.protocol.write_text(said)
    assert key() == before
    (seg.cards / "halves.toml").write_text(card.replace("crop = 30", "crop = 25"))
    assert key() != before


def test_both_kinds_run_side_by_side_each_with_its_own_settings(seg):
    run, store = planned(seg, "linear", tasks="toy,halves", trials=1, seeds=(0,)), Store(seg.store)
    fill(run, store)
    cells = store.cells()
    assert {
        cells[result.cell].labels["metric"]: bool(result.extras) for result in store.results()
    } == {"top1": False, "miou": True}
    assert [cell.constant_features for cell in run.cells] == [True, False]


def test_a_learning_rate_that_a_variant_or_a_method_fixes_is_the_ones_used(seg):
    fixed, lora = planned(seg, "linear(base_lr=0.25),lora").cells
    assert fixed.recipe({}).base_lr == 0.25
    assert fixed.trials == 0
    point = {"rank": 4, "base_lr": 0.01}
    assert lora.recipe(point).base_lr == 0.01
    assert lora.method_arguments(point) == {"rank": 4}
    seg.protocol.write_text(
        re.sub(r"\[segmentation.space\]\nbase_lr.*\n", "", seg.protocol.read_text())
    )
    plain, lora = planned(seg, "linear,lora").cells
    assert (plain.recipe({}).base_lr, plain.trials) == (0.5, 0)
    assert lora.method_arguments(point) == {"rank": 4}


def test_the_predicted_units_are_those_that_a_run_counts(seg):
    seg.protocol.write_text(
        seg.protocol.read_text().replace('pruner = "median"', 'pruner = "none"')
    )
    run, store = planned(seg, "linear", seeds=(0, 1)), Store(seg.store)
    fill(run, store)
    (cell,) = run.cells
    cost = cell_cost(cell.card, cell.protocol, cell.trials, 2, cell.constant_features)
    counted = sum(trial.units for trial in store.trials()) + sum(
        result.units for result in store.results()
    )
    assert cost.units == counted == 4 * 2 * 8 * 4 + WINDOWS * (2 * 2 * 3 + 2 * 4)
    assert windows(cell.card)[0] == WINDOWS
    assert windows(load_cards()["ade20k"]) == (2, 2 * (1 + 1 + 2 + 2 * 2 + 2 * 3 + 3 * 4))


def test_a_preview_shows_cost_and_says_what_an_image_is(seg, capsys: pytest.CaptureFixture[str]):
    console = Console(width=160)
    with ProgressView(console) as view:
        request = Request(
            "linear,vpt-deep",
            tasks="toy,halves",
            cards=seg.cards,
            protocol=str(seg.protocol),
            backbone="mini_vit",
        )
        console.print(preview(request, view.stage))
    said = capsys.readouterr().out
    assert "4 cells: 2 methods x 2 tasks" in said
    assert "an image is a crop, or a sliding window" in said
    assert "Protocol quick: eight iterations." in said


def test_what_cant_be_run_is_one_line(seg):
    with pytest.raises(BadInput, match="--pixels is for classification"):
        planned(seg, "linear", pixels="tf")
    seg.protocol.write_text(seg.protocol.read_text().split("[segmentation]")[0])
    with pytest.raises(BadInput, match=r"protocol quick has no table \[segmentation\]"):
        planned(seg, "linear")


def test_several_scales_are_scored_where_the_protocol_asks_and_what_fails_there_costs_no_result(
    tiny, monkeypatch: pytest.MonkeyPatch
):
    seg = with_segmentation(tiny, "multi_scale = true")
    run, other = planned(seg, "linear", seeds=(0, 1)), planned(with_segmentation_off(seg), "linear")
    assert run.cells[0].key == other.cells[0].key  # it changes no score
    store, wrong = Store(seg.store), segment.multi_scale

    def once(*arguments):
        monkeypatch.setattr(segment, "multi_scale", wrong)
        raise RuntimeError("no room")

    monkeypatch.setattr(segment, "multi_scale", once)
    fill(run, store)
    first, second = store.results()
    assert "miou_ms" not in first.extras
    assert first.provenance["not_all_extras"].startswith("RuntimeError: no room (")
    assert "strip" in first.extras
    assert set(second.extras) - set(first.extras) == {
        "miou_ms",
        "pixel_accuracy_ms",
        "class_iou_ms",
        "maps_sha256_ms",
        "windows_ms",
    }
    assert second.units == first.units + second.extras["windows_ms"]
    assert json.loads(json.dumps(second.extras)) == second.extras


def with_segmentation_off(seg):
    seg.protocol.write_text(
        seg.protocol.read_text().replace("multi_scale = true", "multi_scale = false")
    )
    return seg


def test_the_suites_of_segmentation_have_their_own_backbone_and_protocol():
    run = plan(Request("linear,vpt,vpt-deep,ivpt", suite="mini-seg"))
    assert {cell.card.name for cell in run.cells} == {"sprites-scenes"}
    assert {(cell.backbone, cell.protocol.name, cell.protocol.last) for cell in run.cells} == {
        ("mini_vit", "mini", 320)
    }
    with pytest.raises(BadInput, match="ade20k"):
        plan(Request("linear", suite="everything"))  # its data isn't here, and it is asked for


def test_a_strip_of_test_images_is_stored_with_the_first_seed_alone(seg):
    run, store = planned(seg, "linear,vpt-deep", seeds=(4, 5)), Store(seg.store)
    fill(run, store, Trainer(run, threads=1, keep=checkpoint.Keep(store.checkpoints)))
    results = store.results()
    assert [row.seed for row in results if "strip" in row.extras] == [4, 4]
    strips = [row.extras["strip"] for row in results if row.seed == 4]
    first, second = (
        [(one["row"], one["image"], one["truth"]) for one in strip] for strip in strips
    )
    assert first == second
    test = open_final(run.cells[0].card, None, 30, run.cells[0].fingerprint).test
    tuned = checkpoint.load(checkpoint.find(store, results[0]))
    for one in strips[0]:
        image, truth, seen = (
            np.asarray(Image.open(io.BytesIO(base64.b64decode(one[name]))))
            for name in ("image", "truth", "seen")
        )
        kept, mask = test.scene(one["row"])
        assert np.array_equal(image, kept)
        assert np.array_equal(truth, mask)
        assert np.array_equal(seen, tuned.classes_of_pixels(Image.fromarray(np.array(kept))))
    assert "strip" not in json.loads(text(store, results[0].id))["extras"]


def test_an_ablation_has_a_table_a_kind_and_no_mean_over_both(seg):
    grid = ablation("ivpt(prompts=2,da=false)")
    run, store = (
        planned(seg, grid.methods, tasks="toy,halves", trials=1, seeds=(0,)),
        Store(seg.store),
    )
    fill(run, store)
    console = Console(width=160)
    with console.capture() as said:
        console.print(table(store, run, grid))
    first, second = said.get().split("Top-1 accuracy in %")
    assert "mIoU in %" in second
    assert first.count("mean of 1") == second.count("mean of 1") == 1
    assert "mean of 2" not in said.get()


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


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """`harness` in this process: its exit code."""
    monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_several_scales_are_added_to_a_stored_row_without_training(
    stored: Store, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setattr(segment, "fit", lambda *_: pytest.fail("trained again"))
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
    assert "1 result had it already." in said
    assert all("miou_ms" in row.extras for row in stored.results())


def test_what_has_no_several_scales_is_one_line(
    stored: Store, monkeypatch: pytest.MonkeyPatch, capsys
):
    first, second = stored.results()
    checkpoint.find(stored, first).write_bytes(checkpoint.find(stored, second).read_bytes())
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


def test_overlays_of_images_are_a_palette_and_a_blend(
    stored: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    result = stored.results()[1]
    file, folder = checkpoint.find(stored, result), tmp_path / "seen"
    rng = np.random.default_rng(1)
    sizes = {"wide": (80, 31), "tall": (20, 45)}
    for name, (width, height) in sizes.items():
        Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(
            tmp_path / f"{name}.png"
        )
    images = [str(tmp_path / f"{name}.png") for name in sizes]
    assert (
        run_command(monkeypatch, "predict", file, *images, "--output", folder, "--format", "json")
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    tuned = checkpoint.load(file)
    for row, (name, size) in zip(said, sizes.items(), strict=True):
        classes, overlay = (
            Image.open(folder / f"{name}-{what}.png") for what in ("classes", "overlay")
        )
        assert (classes.mode, classes.size, overlay.mode, overlay.size) == ("P", size, "RGB", size)
        pixels = np.asarray(classes)
        assert np.array_equal(
            pixels, tuned.classes_of_pixels(checkpoint.opened(tmp_path / f"{name}.png"))
        )
        colours = palette(3)[pixels]
        assert np.array_equal(np.asarray(classes.convert("RGB")), colours)
        mixed = (
            0.45 * np.asarray(Image.open(tmp_path / f"{name}.png")).astype(float) + 0.55 * colours
        )
        assert np.abs(np.asarray(overlay) - mixed).max() <= 1
        assert sum(entry["share"] for entry in row["classes"]) == pytest.approx(1)
        assert row["classes"][0]["name"] in ("dark", "bright", "never")
    assert run_command(monkeypatch, "predict", file, *images, "--output", folder) == 0
    assert "Maps and overlays: 2 of each" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["tall.png", "wide.png"]


def test_colours_of_classes_differ_and_what_isnt_scored_is_black():
    colours = palette(150)
    assert len({tuple(colour) for colour in colours[:150].tolist()}) == 150
    assert colours[255].tolist() == [0, 0, 0]
    assert colours[:150].max(1).min() > 100


@pytest.mark.parametrize("crop", [0, -30, 10**9, 2.5, "30", True])
def test_a_checkpoint_that_asks_for_another_crop_is_refused_before_it_takes_memory(
    stored: Store, tmp_path: Path, crop: Any
):
    file = checkpoint.find(stored, stored.results()[0])
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    origin = {**json.loads(metadata["origin"]), "crop": crop}
    save_file(tensors, tmp_path / "theirs.safetensors", {**metadata, "origin": json.dumps(origin)})
    with pytest.raises(BadInput, match="doesn't say where it comes from"):
        checkpoint.load(tmp_path / "theirs.safetensors")


@pytest.mark.parametrize("wrong", ["no output", "no image", "two of a name", "output is a file"])
def test_predicting_pixels_says_in_one_line_what_is_wrong(
    stored: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, wrong: str
):
    file = checkpoint.find(stored, stored.results()[0])
    image = tmp_path / "a.png"
    Image.new("RGB", (40, 30)).save(image)
    (tmp_path / "b.png").write_text("no image")
    arguments, said = {
        "no output": ([image], "is of segmentation: give --output FOLDER."),
        "no image": (
            [tmp_path / "b.png", "--output", tmp_path / "out"],
            "b.png is missing, or no image",
        ),
        "two of a name": (
            [image, tmp_path / "a.jpg", "--output", tmp_path / "out"],
            "two images are called a",
        ),
        "output is a file": ([image, "--output", tmp_path / "b.png"], "can't be written"),
    }[wrong]
    assert run_command(monkeypatch, "predict", file, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_9_in_mid_run_costs_what_was_in_flight_and_the_same_command_goes_on(seg, harness):
    seg.protocol.write_text(seg.protocol.read_text().replace("iterations = 8", "iterations = 40"))
    slow = ("--trials", "5", "--workers", "2")
    process = start(seg, *slow, tasks="halves", methods="linear,vpt-deep")
    wait_for(lambda: len(Store(seg.store).trials()) >= 3)
    process.kill()
    process.wait()
    kept = Store(seg.store).trials()
    done = harness(*seg.arguments(*slow, tasks="halves", methods="linear,vpt-deep"))
    assert done.returncode == 0, done.stderr
    store = Store(seg.store)
    assert all(trial in store.trials() for trial in kept)
    for cell in store.cells():
        ended = [trial for trial in store.trials(cell) if trial.state != "failed"]
        assert [trial.number for trial in ended] == list(range(5))
    assert set(rows(seg.store)) == {
        (m, "halves", s) for m in ("linear", "vpt-deep") for s in (0, 1)
    }
    first, *_ = store.results()
    made_again = harness("reproduce", first.id, "--store", str(seg.store))
    assert made_again.stdout.splitlines()[-1].startswith("equal: ")
    assert dataclasses.asdict(first)["extras"]["pixel_accuracy"] > 0
