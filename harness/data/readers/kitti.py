"""KITTI's object images: `training/{image_2,label_2}/000123.{png,txt}` and the devkit's
`mapping/{train_rand,train_mapping}.txt`.

Split by video, as TensorFlow Datasets does: with numpy's RandomState(123), a tenth of the sorted
videos are test, then as many of the rest validation. A label is the largest i with thr[i] < z, z
the least depth of a Car, Van or Truck, and 1000 where there is none: class 3 is "no vehicle".
KITTI's own mapping gives 6,347, 423 and 711 images.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from harness.data.readers.files import find, image_records, need
from harness.data.readers.lists import lines_of, whole
from harness.data.readers.record import Record
from harness.data.splits import select
from harness.errors import BadInput
from harness.tasks.cards import SplitName, TaskCard

ARGUMENTS = ("counts",)
THRESHOLDS = np.array([-100.0, 8.0, 20.0, 999.0])
VEHICLES = ("Car", "Van", "Truck")
NO_VEHICLE = 1000.0
"""The depth where there is none, in metres."""

DEPTH = 13
"""Of location's z among a label line's 15 columns."""


def present(card: TaskCard, root: Path | None) -> bool:
    return find(card, root, *_places("training/label_2")) is not None


def keys(card: TaskCard, root: Path | None, source: str) -> Sequence[str]:
    """Names of image files."""
    videos = _videos(card, root)
    chosen = split_videos(sorted(set(videos)))[source]
    names = [f"{row:06}.png" for row, video in enumerate(videos) if video in chosen]
    return whole(card, need(card, root, *_places("mapping/train_rand.txt")), source, names)


def split_videos(videos: Sequence[str]) -> dict[str, set[str]]:
    """Sorted videos -> those of train, validation and test."""
    rng, tenth = np.random.RandomState(123), int(len(videos) * 0.1)
    test = set(rng.choice(list(videos), tenth, replace=False).tolist())
    rest = sorted(set(videos) - test)
    validation = set(rng.choice(rest, tenth, replace=False).tolist())
    return {"train": set(rest) - validation, "validation": validation, "test": test}


def binned(depth: float) -> int:
    """VTAB's class of the least depth, in metres; strict: 8.0 is still class 0."""
    return int(np.searchsorted(THRESHOLDS, depth, side="left")) - 1


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    labels = need(card, root, *_places("training/label_2"))
    images = need(card, root, *_places("training/image_2"))
    chosen = select(card, split, partial(keys, card, root))
    return image_records(
        card,
        [(key, binned(_depth(card, labels / f"{key[:6]}.txt")), images / key) for key in chosen],
    )


def check(card: TaskCard, root: Path | None) -> None:
    """Nothing beyond what each split shows."""


def _places(name: str) -> tuple[str, ...]:
    return (
        name,
        f"kitti/{name}",
        f"devkit_object/{name}",
        f"data_object_{name.rpartition('/')[2]}/{name}",
    )


def _depth(card: TaskCard, path: Path) -> float:
    depths = [NO_VEHICLE]
    for line in lines_of(card, path):
        parts = line.split()
        if len(parts) != 15:
            raise BadInput(
                f"task {card.name}: {path} has a line of {len(parts)} columns, expected 15. Get it"
                " again."
            )
        if parts[0] in VEHICLES:
            try:
                depths.append(float(parts[DEPTH]))
            except ValueError as error:
                raise BadInput(
                    f"task {card.name}: {path} has {parts[DEPTH][:20]!r} for a depth. Get it again."
                ) from error
    return min(depths)


def _videos(card: TaskCard, root: Path | None) -> tuple[str, ...]:
    """The video of every training image, in order: train_rand gives the line of the mapping (from
    1), whose second column it is."""
    rand, mapping = (
        need(card, root, *_places(f"mapping/{name}.txt"))
        for name in ("train_rand", "train_mapping")
    )
    lines = lines_of(card, mapping)
    try:
        return tuple(
            lines[int(number) - 1].split()[1]
            for number in ",".join(lines_of(card, rand)).split(",")
            if number.strip()
        )
    except (ValueError, IndexError) as error:
        raise BadInput(
            f"task {card.name}: {rand} and {mapping} don't fit each other ({error}). Get both"
            " again."
        ) from error
