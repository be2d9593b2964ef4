"""A tiny task in the VTAB-1k folder format, drawn by the test itself, and its card."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.tasks.cards import TaskCard

SIZES = {"train": 6, "val": 4, "test": 5}
LISTS = {"train": "train800", "val": "val200", "test": "test"}
CLASSES = 3
CARD = """
name = "tiny"
title = "Tiny"
suite = "mine"
group = "natural"
kind = "classification"
classes = 3
sizes = { train = 6, val = 4, test = 5 }
pixels = "pil"
metric = "top1"
source = "drawn here"
licence = "none"
citation = "none"
howto = "draw it"
reader = { format = "vtab-folder", folder = "tiny" }
"""


def make_card(path: Path, **changes) -> TaskCard:
    """A card of the tiny folder as if read from `path`, with some keys changed."""
    return TaskCard(**{**tomllib.loads(CARD), **changes, "path": path})


def draw(folder: Path) -> None:
    rng = np.random.default_rng(0)
    union = []
    for split, name in LISTS.items():
        (folder / "images" / name).mkdir(parents=True)
        lines = []
        for row in range(SIZES[split]):
            path = f"images/{name}/{row:06}.{'png' if row % 2 else 'jpg'}"
            shape = (8 + row, 12) if row == 1 else (8 + row, 12, 3)  # one is grey
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / path)
            lines.append(f"{path} {row % CLASSES}")
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
        union += lines if split != "test" else []
    (folder / "train800val200.txt").write_text("\n".join(reversed(union)) + "\n")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VPT_HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    draw(tmp_path / "data" / "tiny")
    return tmp_path / "data"


@pytest.fixture
def card(tmp_path: Path) -> TaskCard:
    return make_card(tmp_path / "tiny.toml")


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    """A folder with the card, as a user has it."""
    folder = tmp_path / "cards"
    folder.mkdir()
    (folder / "tiny.toml").write_text(CARD)
    return folder
