"""Ten images and annotations in SceneParse150's official layout, of several shapes."""

from pathlib import Path

import numpy as np
from PIL import Image

from harness.tasks.cards import TaskCard, load_cards

SIZES = {"train": 5, "val": 2, "test": 3}
SHAPES = ((12, 9), (7, 16), (11, 11))


def ade(root: Path, inside: str = "ade20k/ADEChallengeData2016") -> TaskCard:
    """Written below `root`; the shipped card with their counts."""
    rng = np.random.default_rng(0)
    for part, n in (("training", SIZES["train"] + SIZES["val"]), ("validation", SIZES["test"])):
        for number in range(n):
            height, width = SHAPES[number % 3]
            name = f"ADE_{part[: 5 if part == 'training' else 3]}_{number + 1:08}"
            image, annotation = (
                root / inside / kind / part / name for kind in ("images", "annotations")
            )
            for path in (image, annotation):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(
                f"{image}.jpg"
            )
            Image.fromarray(rng.integers(0, 151, (height, width), dtype=np.uint8)).save(
                f"{annotation}.png"
            )
    (root / inside / "images" / "training" / "notes.txt").write_text("not an image")
    return load_cards()["ade20k"].model_copy(update={"sizes": SIZES})
