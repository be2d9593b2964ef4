"""What reading images takes is in a plan's hours."""

import time
from pathlib import Path

import folder_task
import pytest
from segmentation import planned, seg

from harness.data import loader
from harness.data.normalization import IMAGENET
from harness.data.readers import open_reader
from harness.planning import dry_run, reading
from harness.planning.cost import Pace
from harness.planning.dry_run import Preview, preview
from harness.planning.request import Request
from harness.training.kind import Cost

__all__ = ["seg"]

TRAINED, SCORED = 12 * 2 + 18 * 2, 6 + 9
"""Images of a trial and a final run of VPT-Deep, two epochs each, and those that they score."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_task.make(tmp_path)


def previewed(folder: Path, methods: str = "vpt-deep(prompts=2)") -> Preview:
    request = Request(
        methods=methods,
        tasks="squares",
        cards=folder / "cards",
        data_root=folder / "data",
        protocol=str(folder / "quick.toml"),
    )
    return preview(request, lambda _: None)


def test_a_batch_that_takes_long_to_make_is_in_the_hours(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    real, seconds = loader.squares, 0.05

    def slow(pixels, images, *more):
        time.sleep(seconds * len(images))
        return real(pixels, images, *more)

    monkeypatch.setattr(loader, "squares", slow)
    hours = previewed(folder).total.hours
    assert hours >= (TRAINED + SCORED) * seconds / 3600


def test_what_a_gpu_reads_while_it_scores_costs_what_it_waits(monkeypatch: pytest.MonkeyPatch):
    pace, cost = Pace(train=3.0, scored=1.0), Cost(1, 1, train=10, scored=100)
    read = reading.Reading(decode=9.0, train=2.0, scored=4.0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert pace.hours(cost) == (10 * 3 + 100 * 1) / 3600
    assert pace.hours(cost, read) == (10 * 5 + 100 * 5) / 3600
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert pace.hours(cost, read) == (10 * 5 + 100 * 4) / 3600


def test_decoding_is_said_once_and_no_image_outside_train_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    real, files, seconds = reading.decoded, [], 0.1

    def slow(task, rows, turn):
        files.extend(row.key for row in rows)
        time.sleep(seconds * len(rows))
        return real(task, rows, turn)

    monkeypatch.setattr(reading, "decoded", slow)
    assert not any("Decoding" in note for note in previewed(folder).notes), "a few seconds"
    assert files
    assert all("train800" in file for file in files)
    monkeypatch.setattr(dry_run, "WORTH_SAYING", 27 * seconds * 0.99)
    (said,) = [note for note in previewed(folder, "linear").notes if "Decoding" in note]
    assert "once" in said


def test_an_image_that_cant_be_decoded_is_a_task_that_cant_run(folder: Path):
    file = folder / "data" / "squares" / "images" / "train800" / "000000.png"
    file.write_bytes(file.read_bytes()[:-30])
    shown = previewed(folder)
    assert set(shown.missing) == {"squares"}
    assert "000000.png" in shown.missing["squares"]
    assert "without reading images" in str(shown).replace("\n", " ")


def test_crops_are_drawn_for_it_too(seg):
    (cell,) = planned(seg, "vpt-deep(prompts=2)").cells
    found = reading.measure(open_reader(cell.card, cell.root), cell.protocol, 24, IMAGENET)
    assert min(found.decode, found.train, found.scored) > 0


def test_hours_are_given_by_suite_where_there_are_several(seg):
    one = preview(seg.request("linear", tasks="toy"), lambda _: None)
    assert not any("by suite" in note for note in one.notes)
    both = preview(seg.request("linear", tasks="toy,digits"), lambda _: None)
    (said,) = [note for note in both.notes if "by suite" in note]
    assert "mini 0." in said
