"""Makes the arrays of the mini suite: three sprites tasks from a seeded generator, a subset of
Fashion-MNIST, and scikit-learn's copy of the digits.

    python scripts/make_mini_tasks.py sprites datasets/mini --seed 20261123
    python scripts/make_mini_tasks.py fashion datasets/mini --source
    /usr/share/datasets/fashion-mnist --part final
    python scripts/make_mini_tasks.py digits datasets/mini --seed 20261123

The sprites are in the spirit of dSprites (one shape: where is it, which way does it turn?) and
CLEVR (how many are there?): large shapes of random colour on a quiet, noisy ground, 32 x 32 RGB.
Each split has a random stream of its own. The suite was designed on seeds 1 to 9 (and on
Fashion-MNIST's `dev` part); the shipped files come from seeds and rows that were not looked at
before.
"""

import argparse
import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.splits import order

SIZE = 32
SPLITS = {"train": 400, "val": 100, "test": 600}
DIGITS_SPLITS = {"train": 160, "val": 80, "test": 600}
FASHION_SPLITS = {"train": 160, "val": 80, "test": 600}
SUPERSAMPLING = 4
TASKS = {"sprites-location": 9, "sprites-orientation": 8, "sprites-count": 5}


def arrow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A dart in [-1, 1]^2 that points to +x: the one shape whose eight directions all differ."""
    return (
        (x > -0.9)
        & (x < 0.95)
        & (np.abs(y) < 0.75 * (0.95 - x) / 1.85)
        & ~((x < -0.45) & (np.abs(y) < 0.3 * (-0.45 - x) / 0.45))
    )


def disc(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x**2 + y**2 < 0.8


def square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(x), np.abs(y)) < 0.8


def triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (y < 0.8) & (np.abs(x) < 0.55 * (y + 1))


def cover(
    shape, centre: np.ndarray, radius: float, angle: float, height: int = SIZE, width: int = SIZE
) -> np.ndarray:
    """How much of each pixel a shape covers, in [0, 1]; `centre` (x, y) and `radius` in pixels,
    `angle` counter-clockwise in radians."""
    across, down = (
        (np.arange(side * SUPERSAMPLING) + 0.5) / SUPERSAMPLING for side in (width, height)
    )
    dx, dy = (across[None, :] - centre[0]) / radius, -(down[:, None] - centre[1]) / radius
    x, y = np.cos(angle) * dx + np.sin(angle) * dy, -np.sin(angle) * dx + np.cos(angle) * dy
    return shape(x, y).reshape(height, SUPERSAMPLING, width, SUPERSAMPLING).mean((1, 3))


def ground(rng: np.random.RandomState, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    """A dark or light grey with a slight tint and noise: (height, width, 3) in [0, 255]."""
    tone = rng.uniform(40, 90) if rng.rand() < 0.5 else rng.uniform(160, 210)
    return tone + rng.uniform(-12, 12, 3) + rng.normal(0, 6, (height, width, 1))


def colour(rng: np.random.RandomState, behind: np.ndarray) -> np.ndarray:
    """A random colour that stands out from what is behind it."""
    while True:
        candidate = rng.uniform(0, 255, 3)
        if np.abs(candidate - behind.mean((0, 1))).max() > 90:
            return candidate


def paint(image: np.ndarray, rng: np.random.RandomState, mask: np.ndarray) -> np.ndarray:
    return image + mask[:, :, None] * (colour(rng, image) - image)


def location(rng: np.random.RandomState, label: int) -> np.ndarray:
    """The cell, of 3 x 3, that the shape's centre is in."""
    cell = SIZE / 3
    centre = (np.array([label % 3, label // 3]) + rng.uniform(0.2, 0.8, 2)) * cell
    shape = (disc, square, triangle, arrow)[rng.randint(4)]
    return paint(
        ground(rng), rng, cover(shape, centre, rng.uniform(5, 8), rng.uniform(0, 2 * np.pi))
    )


def orientation(rng: np.random.RandomState, label: int) -> np.ndarray:
    """The direction, of eight, that the dart points to; within 3 degrees of it."""
    angle = 2 * np.pi * label / 8 + np.deg2rad(rng.uniform(-3, 3))
    return paint(
        ground(rng), rng, cover(arrow, SIZE / 2 + rng.uniform(-1, 1, 2), rng.uniform(11, 13), angle)
    )


def count(rng: np.random.RandomState, label: int) -> np.ndarray:
    """The number of shapes, less one: 1 to 5 that don't touch."""
    image, placed = ground(rng), []
    while len(placed) < label + 1:
        radius, centre = rng.uniform(3.5, 5), rng.uniform(5, SIZE - 5, 2)
        if all(np.hypot(*(centre - other)) > radius + reach + 1 for other, reach in placed):
            placed.append((centre, radius))
        elif rng.rand() < 0.02:
            placed = []
    for centre, radius in placed:
        image = paint(
            image,
            rng,
            cover(
                (disc, square, triangle)[rng.randint(3)], centre, radius, rng.uniform(0, 2 * np.pi)
            ),
        )
    return image


DRAW = {"sprites-location": location, "sprites-orientation": orientation, "sprites-count": count}


def sprites(task: str, seed: int) -> dict[str, np.ndarray]:
    """The arrays of a task: images (n, 32, 32, 3) uint8 and labels (n,), balanced and shuffled, for
    each split.

    numpy's RandomState is used because its streams are frozen for good.
    """
    arrays = {}
    for split, n in SPLITS.items():
        text = f"{task}/{seed}/{split}"
        rng = np.random.RandomState(
            np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype="<u4")
        )
        labels = rng.permutation(np.arange(n) % TASKS[task])
        images = np.stack([DRAW[task](rng, int(label)) for label in labels])
        arrays[f"{split}_images"] = np.clip(np.rint(images / 3) * 3, 0, 255).astype(np.uint8)
        arrays[f"{split}_labels"] = labels.astype(np.int64)
    return arrays


def fashion(source: Path, part: str) -> dict[str, np.ndarray]:
    """A balanced subset of Fashion-MNIST, (n, 28, 28) grey.

    `dev`: from the end of its training set, backwards; `final`: the first rows of its training and
    test sets.
    """

    def read(name: str) -> tuple[np.ndarray, np.ndarray]:
        images = np.frombuffer(
            gzip.decompress((source / f"{name}-images-idx3-ubyte.gz").read_bytes()),
            np.uint8,
            offset=16,
        )
        labels = np.frombuffer(
            gzip.decompress((source / f"{name}-labels-idx1-ubyte.gz").read_bytes()),
            np.uint8,
            offset=8,
        )
        return images.reshape(-1, 28, 28), labels.astype(np.int64)

    train, test = read("train"), read("t10k")
    pools = (
        {"train": train, "val": train, "test": test}
        if part == "final"
        else {split: tuple(a[::-1] for a in train) for split in FASHION_SPLITS}
    )
    arrays, used = {}, {}
    for split, n in FASHION_SPLITS.items():
        images, labels = pools[split]
        start = (
            used.get(id(images), 0) if part == "final" or split == "train" else sum(used.values())
        )
        rows = np.concatenate(
            [start + np.flatnonzero(labels[start:] == c)[: n // 10] for c in range(10)]
        )
        used[id(images)] = int(rows.max()) + 1
        rows.sort()
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = images[rows], labels[rows]
    return arrays


def digits(seed: int) -> dict[str, np.ndarray]:
    """1,797 scans of 8 x 8 pixels in 17 greys (Alpaydin and Kaynak, 1998), as scikit-learn has
    them: (n, 8, 8) uint8, and each one's row there.

    Consecutive rows of one order, of which every stretch has the classes in their shares: each
    class by md5 (the same for ever), spread evenly.
    """
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    images, labels = np.rint(found["images"] * 255 / 16).astype(np.uint8), found["target"]
    place = {}
    for label in np.unique(labels):
        rows = order(np.flatnonzero(labels == label).tolist(), f"digits-{seed}-")
        place |= {row: ((rank + 0.5) / len(rows), int(label)) for rank, row in enumerate(rows)}
    ordered, arrays, start = np.array(sorted(place, key=place.__getitem__)), {}, 0
    for split, n in DIGITS_SPLITS.items():
        rows = ordered[start : start + n]
        arrays |= {f"{split}_images": images[rows], f"{split}_labels": labels[rows]}
        arrays[f"{split}_keys"] = rows
        start += n
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("sprites", "fashion", "digits"))
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--source", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--part", choices=("dev", "final"), default="dev")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.what == "sprites":
        made = {task: sprites(task, arguments.seed) for task in TASKS}
    elif arguments.what == "fashion":
        made = {"fashion": fashion(arguments.source, arguments.part)}
    else:
        made = {"digits": digits(arguments.seed)}
    for name, arrays in made.items():
        path = arguments.output / f"{name}.npz"
        np.savez_compressed(path, allow_pickle=False, **arrays)
        print(
            f"{path}  {path.stat().st_size:,} bytes  sha256"
            f" {hashlib.sha256(path.read_bytes()).hexdigest()}"
        )


if __name__ == "__main__":
    main()
