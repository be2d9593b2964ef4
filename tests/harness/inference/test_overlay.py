"""Predicted classes of pixels as pictures: `harness predict` on a segmentation model."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run_command
from PIL import Image
from segmentation import filled, stored

from harness.inference import checkpoint_files, tuned_model
from harness.inference.overlay import palette
from harness.store import Store

__all__ = ["filled", "stored"]


def test_overlays_of_images_are_a_palette_and_a_blend(
    stored: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    result = stored.results()[1]
    file, folder = checkpoint_files.find(stored, result), tmp_path / "seen"
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
    tuned = tuned_model.load(file)
    for row, (name, size) in zip(said, sizes.items(), strict=True):
        classes, overlay = (
            Image.open(folder / f"{name}-{what}.png") for what in ("classes", "overlay")
        )
        assert (classes.mode, classes.size, overlay.mode, overlay.size) == ("P", size, "RGB", size)
        pixels = np.asarray(classes)
        assert np.array_equal(
            pixels, tuned.classes_of_pixels(tuned_model.opened(tmp_path / f"{name}.png"))
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


@pytest.mark.parametrize("wrong", ["no output", "no image", "two of a name", "output is a file"])
def test_predicting_pixels_says_in_one_line_what_is_wrong(
    stored: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, wrong: str
):
    file = checkpoint_files.find(stored, stored.results()[0])
    image = tmp_path / "a.png"
    Image.new("RGB", (40, 30)).save(image)
    (tmp_path / "b.png").write_text("no image")
    arguments, said = {
        "no output": ([image], "is for segmentation: give --output FOLDER."),
        "no image": (
            [tmp_path / "b.png", "--output", tmp_path / "out"],
            "b.png is missing, or can't be decoded",
        ),
        "two of a name": (
            [image, tmp_path / "a.jpg", "--output", tmp_path / "out"],
            "two images are named a",
        ),
        "output is a file": ([image, "--output", tmp_path / "b.png"], "can't be written"),
    }[wrong]
    assert run_command(monkeypatch, "predict", file, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
