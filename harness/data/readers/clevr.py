"""CLEVR v1.0: `scenes/CLEVR_{train,val}_scenes.json` and `images/{train,val}/`. VTAB's test set is
CLEVR's val.

count: the number of objects minus 3. distance: with d the smallest `pixel_coords[2]` of a scene's
objects, the largest i with thr[i] < d.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from harness.data.readers.files import stamp
from harness.data.readers.reader import SlicedReader
from harness.data.readers.record import Record
from harness.data.splits import parse
from harness.errors import BadInput
from harness.io.atomic import making, replacing
from harness.io.resources import cache_dir
from harness.tasks.cards import SplitName

PARTS = {"train": "train", "validation": "val"}
THRESHOLDS = np.array([0, 8, 8.5, 9, 9.5, 10, 100], np.float32)


class CLEVR(SlicedReader[str]):
    format = "clevr"
    arguments = ("counts", "label")

    def present(self) -> bool:
        return self.find(*_scenes("train")) is not None

    def keys(self, source: str) -> Sequence[str]:
        """Names of image files."""
        return [f"CLEVR_{PARTS[source]}_{row:06}.png" for row in range(self.count(source))]

    def records(self, split: SplitName) -> Sequence[Record]:
        source, _, _ = parse(self.card.slices[split])
        path = self.need(*_scenes(source))
        count = self.count(source)
        objects, distances = _facts(self.card.name, path, stamp(path))
        if len(objects) != count:
            raise self.error(
                f"{path} has {len(objects)} scenes, expected {count}. Download it again."
            )
        labels = objects - 3 if self.argument("label", str) == "count" else binned(distances)
        folder = path.parent.parent / "images" / PARTS[source]
        chosen = self.selected(split)
        return self.images([(key, int(labels[int(key[-10:-4])]), folder / key) for key in chosen])

    def check(self) -> None:
        """The label is one of VTAB's."""
        if self.argument("label", str) not in ("count", "distance"):
            raise BadInput(f"card {self.card.path}: reader.label: expected count or distance.")


def binned(distances: np.ndarray) -> np.ndarray:
    """VTAB's class of a distance (float32): the largest i with THRESHOLDS[i] < d, so 8.0 is still
    class 0."""
    return np.searchsorted(THRESHOLDS, distances.astype(np.float32), side="left") - 1


def _scenes(source: str) -> tuple[str, str]:
    name = f"scenes/CLEVR_{PARTS[source]}_scenes.json"
    return f"CLEVR_v1.0/{name}", name


@lru_cache(maxsize=2)
def _facts(task: str, path: Path, changed: str) -> tuple[np.ndarray, np.ndarray]:
    """Objects (scene,) and smallest distance (scene,) by image number. A gigabyte of JSON is parsed
    once and cached as two columns."""
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
        facts = [
            (len(rows[row]), min(one["pixel_coords"][2] for one in rows[row]))
            for row in range(len(rows))
        ]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BadInput(
            f"task {task}: {path} is damaged or truncated ({type(error).__name__}: {error})."
            " Download it again."
        ) from error
    return np.array(facts, np.float64)
