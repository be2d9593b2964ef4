"""CLEVR v1.0: `scenes/CLEVR_{train,val}_scenes.json` and `images/{train,val}/`. VTAB's test set is
CLEVR's val.

count: the number of objects less 3. distance: with d the least `pixel_coords[2]` of a scene's
objects, the largest i with thr[i] < d.
"""

import json
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from harness.data.readers.files import find, image_records, need, stamp
from harness.data.readers.record import Record
from harness.data.splits import parse, select
from harness.errors import BadInput
from harness.io.atomic import making, replacing
from harness.io.resources import cache_dir
from harness.tasks.cards import SplitName, TaskCard

ARGUMENTS = ("counts", "label")
PARTS = {"train": "train", "validation": "val"}
THRESHOLDS = np.array([0, 8, 8.5, 9, 9.5, 10, 100], np.float32)


def present(card: TaskCard, root: Path | None) -> bool:
    return find(card, root, *_scenes("train")) is not None


def keys(card: TaskCard, root: Path | None, source: str) -> Sequence[str]:
    """Names of image files."""
    return [
        f"CLEVR_{PARTS[source]}_{row:06}.png"
        for row in range(card.reader.argument("counts", card.name, dict)[source])
    ]


def binned(distances: np.ndarray) -> np.ndarray:
    """VTAB's class of a distance (float32): the largest i with THRESHOLDS[i] < d, so 8.0 is still
    class 0."""
    return np.searchsorted(THRESHOLDS, distances.astype(np.float32), side="left") - 1


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    source, _, _ = parse(card.slices[split])
    path = need(card, root, *_scenes(source))
    count = card.reader.argument("counts", card.name, dict)[source]
    objects, distances = _facts(card.name, path, stamp(path))
    if len(objects) != count:
        raise BadInput(
            f"task {card.name}: {path} has {len(objects)} scenes, expected {count}. Get it again."
        )
    labels = (
        objects - 3
        if card.reader.argument("label", card.name, str) == "count"
        else binned(distances)
    )
    folder = path.parent.parent / "images" / PARTS[source]
    chosen = select(card, split, partial(keys, card, root))
    return image_records(
        card, [(key, int(labels[int(key[-10:-4])]), folder / key) for key in chosen]
    )


def check(card: TaskCard, root: Path | None) -> None:
    """The label is one that VTAB has."""
    if card.reader.argument("label", card.name, str) not in ("count", "distance"):
        raise BadInput(f"card {card.path}: reader.label: expected count or distance.")


def _scenes(source: str) -> tuple[str, str]:
    name = f"scenes/CLEVR_{PARTS[source]}_scenes.json"
    return f"CLEVR_v1.0/{name}", name


@lru_cache(maxsize=2)
def _facts(task: str, path: Path, changed: str) -> tuple[np.ndarray, np.ndarray]:
    """Objects (scene,) and least distance (scene,) by number of image. A gigabyte of JSON is parsed
    once and remembered as two columns."""
    memo = cache_dir() / "scenes" / f"{path.stem}-{changed.replace('/', '-')}.npy"
    with making(memo):
        try:
            table = np.load(memo, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            table = _parsed(task, path)
            with replacing(memo) as file:
                np.save(file, table)
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.float32)


def _parsed(task: str, path: Path) -> np.ndarray:
    try:
        scenes = json.loads(path.read_bytes())["scenes"]
        rows = {int(scene["image_filename"][-10:-4]): scene["objects"] for scene in scenes}
        found = [
            (len(rows[row]), min(one["pixel_coords"][2] for one in rows[row]))
            for row in range(len(rows))
        ]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BadInput(
            f"task {task}: {path} is damaged or cut short ({type(error).__name__}: {error}). Get it"
            " again."
        ) from error
    return np.array(found, np.float64)
