"""A task in the VTAB-1k folder format, its card and a short protocol, as a user has them: `data/`,
`cards/`, `quick.toml`."""

from pathlib import Path

import numpy as np
from PIL import Image

CARD = """
name = "squares"
title = "grey squares"
suite = "mine"
group = "toy"
kind = "classification"
classes = 3
sizes = { train = 12, val = 6, test = 9 }
pixels = "pil"
metric = "top1"
source = "generated"
licence = "none"
citation = "none"

[reader]
format = "vtab-folder"
folder = "squares"
"""

PROTOCOL = """
title = "two epochs"
optimizer = "adamw"
epochs = 2
warmup_epochs = 0
batch_size = 6
seeds = [0]
sampler = "tpe"
trials = 1
pruner = "none"
space = { base_lr = { low = 0.1, high = 1.0, log = true }, weight_decay = { choices = [0.0] } }
"""

METHOD = """
from pathlib import Path

from methods.linear import Linear


class Mine(Linear):
    name = "mine"

    def __init__(self, vit):
        super().__init__(vit)
        Path("note.txt").read_text()  # beside the command, as everything else
"""


def make(folder: Path) -> Path:
    """Fills `folder`, and gives it back."""
    rng = np.random.RandomState(0)
    for name in ("cards", "data/squares", "weights"):
        (folder / name).mkdir(parents=True)
    (folder / "cards" / "squares.toml").write_text(CARD)
    (folder / "quick.toml").write_text(PROTOCOL)
    (folder / "mine.py").write_text(METHOD)
    (folder / "note.txt").write_text("read by the method")
    lines: dict[str, list[str]] = {}
    for split, n in {"train800": 12, "val200": 6, "test": 9}.items():
        (folder / "data" / "squares" / "images" / split).mkdir(parents=True)
        for i in range(n):
            path = f"images/{split}/{i:06}.png"
            grey = (i % 3) * 80 + rng.randint(0, 80, (8, 8))
            Image.fromarray(np.uint8(grey)).convert("RGB").save(folder / "data" / "squares" / path)
            lines.setdefault(split, []).append(f"{path} {i % 3}\n")
    lines["train800val200"] = lines["train800"] + lines["val200"]
    for split, entries in lines.items():
        (folder / "data" / "squares" / f"{split}.txt").write_text("".join(entries))
    return folder
