"""Segmentation in a worker, without Ray but for the last test: tuned on val, scored once on test,
with what is stored beside a score."""

import base64
import dataclasses
import io
import json

import numpy as np
import pytest
from driving import rows, start, wait_for
from in_process import fill, outcomes
from PIL import Image
from segmentation import WINDOWS, filled, planned, seg, stored, with_segmentation

from harness.data.loader import TuningData, open_final
from harness.engine.jobs import TuneJob
from harness.engine.trainer import Trainer
from harness.inference import checkpoint_files, tuned_model
from harness.reporting.result_detail import detail
from harness.store import Store
from harness.training.segmentation import Segmentation

__all__ = ["filled", "seg", "stored"]


def test_a_cell_is_tuned_on_val_and_scored_once_on_test_with_its_extras(stored: Store):
    cells = stored.cells()
    results = {cells[result.cell].labels["variant"]: result for result in stored.results()}
    assert set(results) == {"linear", "vpt-deep"}
    for variant, result in results.items():
        assert cells[result.cell].labels["metric"] == "miou"
        assert 0 <= result.score <= 100
        counted = {"flops", "flops_scored", "flops_overhead", "seconds_image", "checkpoint_bytes"}
        assert set(result.extras) == {"pixel_accuracy", "class_iou", "strip"} | counted
        assert (result.extras["flops_overhead"] > 0) == (variant == "vpt-deep")
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


def test_both_kinds_run_side_by_side_each_with_its_own_settings(seg):
    run, store = planned(seg, "linear", tasks="toy,halves", trials=1, seeds=(0,)), Store(seg.store)
    fill(run, store)
    cells = store.cells()
    assert {
        cells[result.cell].labels["metric"]: "class_iou" in result.extras
        for result in store.results()
    } == {"top1": False, "miou": True}
    assert [cell.constant_features for cell in run.cells] == [True, False]


def test_a_strip_of_test_images_is_stored_with_the_first_seed_alone(seg):
    run, store = planned(seg, "linear,vpt-deep", seeds=(4, 5)), Store(seg.store)
    fill(run, store, Trainer(run, threads=1, keep=checkpoint_files.Keep(store.checkpoints)))
    results = store.results()
    assert [row.seed for row in results if "strip" in row.extras] == [4, 4]
    strips = [row.extras["strip"] for row in results if row.seed == 4]
    first, second = (
        [(one["row"], one["image"], one["truth"]) for one in strip] for strip in strips
    )
    assert first == second
    test = open_final(run.cells[0].card, None, 30, run.cells[0].fingerprint).test
    tuned = tuned_model.load(checkpoint_files.find(store, results[0]))
    for one in strips[0]:
        image, truth, seen = (
            np.asarray(Image.open(io.BytesIO(base64.b64decode(one[name]))))
            for name in ("image", "truth", "seen")
        )
        kept, mask = test.scene(one["row"])
        assert np.array_equal(image, kept)
        assert np.array_equal(truth, mask)
        assert np.array_equal(seen, tuned.classes_of_pixels(Image.fromarray(np.array(kept))))
    assert "strip" not in detail(store, results[0].id)["extras"]


def test_several_scales_are_scored_where_the_protocol_asks_and_what_fails_there_costs_no_result(
    tiny, monkeypatch: pytest.MonkeyPatch
):
    seg = with_segmentation(tiny, "multi_scale = true")
    run, other = planned(seg, "linear", seeds=(0, 1)), planned(with_segmentation_off(seg), "linear")
    assert run.cells[0].key == other.cells[0].key  # it changes no score
    store, whole = Store(seg.store), Segmentation.at_several_scales

    def once(*arguments):
        monkeypatch.setattr(Segmentation, "at_several_scales", whole)
        raise RuntimeError("no room")

    monkeypatch.setattr(Segmentation, "at_several_scales", once)
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
