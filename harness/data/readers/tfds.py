"""A directory of TensorFlow Datasets, read without TensorFlow: `<dataset>/[<config>/]<version>/`,
`dataset_info.json` and TFRecord shards.

Slices such as `train[:800]` refer to the records' order on disk, shard after shard, so nothing is
sorted here. Images are the bytes that TensorFlow Datasets wrote: for sun397 and
diabetic_retinopathy it had processed and re-encoded them.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.data.readers import clevr, examples, kitti
from harness.data.readers.lists import check_count
from harness.data.readers.reader import TaskReader
from harness.data.readers.record import Record
from harness.data.readers.tfrecord import Values
from harness.data.splits import parse
from harness.tasks.cards import SplitName

Features = dict[str, Values]


class TFDS(TaskReader):
    format = "tfds"
    arguments = ("dataset", "version", "counts", "key", "label", "groups", "scale")

    def present(self) -> bool:
        return self._folder() is not None

    def records(self, split: SplitName) -> Sequence[Record]:
        source, start, stop = parse(self.card.slices[split])
        shards = self._shards(source)
        total = sum(shards.lengths or ())
        check_count(self.card, shards.paths[0].parent, source, total)
        if stop is not None and stop > total:
            raise self.error(
                f"{split} needs {self.card.slices[split]}, but there are {total} records under"
                f" {shards.paths[0].parent}. Get a complete copy."
            )
        arguments = self.card.reader.arguments
        describe = _Described(
            source,
            arguments.get("key", ""),
            arguments.get("label", "label"),
            arguments.get("groups", 1),
        )
        return examples.records(
            shards, examples.rows(shards, describe, start, stop), arguments.get("scale", 1)
        )

    def _folder(self) -> Path | None:
        """The newest version that the card allows, below the data root or its
        `tensorflow_datasets`."""
        dataset, major = (self.argument(name, str) for name in ("dataset", "version"))
        for place in (
            (self.root, self.root / "tensorflow_datasets", self.root / self.card.name)
            if self.root is not None
            else ()
        ):
            versions = [
                path.parent for path in (place / dataset).glob(f"{major}.*/dataset_info.json")
            ]
            if versions:
                return max(versions, key=_numbers)
        return None

    def _shards(self, source: str) -> examples.Shards:
        folder = self._folder()
        if folder is None:
            named = (self.argument(part, str) for part in ("dataset", "version"))
            wanted = f"{'/'.join(named)}.*"
            raise self.error(
                f"no {wanted}/dataset_info.json under {self.root}. Give TensorFlow"
                " Datasets' folder as --data-root."
            )
        path = folder / "dataset_info.json"
        try:
            info = self.once(path, lambda: json.loads(path.read_bytes()))
            kind = info.get("fileFormat", "tfrecord")
            if kind != "tfrecord":
                raise self.error(
                    f"{folder} holds {kind} files; only tfrecord is read. Build it"
                    " with file_format='tfrecord'."
                )
            (lengths,) = [
                tuple(map(int, split["shardLengths"]))
                for split in info["splits"]
                if split["name"] == source
            ]
            name = info["name"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self.error(
                f"{path} is damaged, or has no split '{source}' with shardLengths. Download it"
                " again."
            ) from error
        paths = tuple(
            folder / f"{name}-{source}.tfrecord-{shard:05}-of-{len(lengths):05}"
            for shard in range(len(lengths))
        )
        return examples.Shards(self.card.name, paths, lengths)


def _objects(features: Features, name: str) -> np.ndarray:
    """A vector of three for each object, (n, 3)."""
    return np.array(features[f"objects/{name}"], np.float32).reshape(-1, 3)


def _clevr_distance(features: Features) -> int:
    return int(clevr.binned(_objects(features, "pixel_coords")[:, 2]).min())


def _kitti_distance(features: Features) -> int:
    kinds = np.array(features["objects/type"], int)  # 0 to 2 are Car, Van and Truck
    depths = _objects(features, "location")[kinds < len(kitti.VEHICLES), 2]
    return kitti.binned(float(depths.min())) if len(depths) else kitti.binned(kitti.NO_VEHICLE)


RULES: dict[str, Callable[[Features], int]] = {
    "clevr-count": lambda features: len(_objects(features, "pixel_coords")) - 3,
    "clevr-distance": _clevr_distance,
    "kitti-distance": _kitti_distance,
}
"""Labels that aren't features themselves, by their names in cards."""


def _of_class(features: Features, label: int) -> str:
    """EuroSAT's and RESISC45's key, by which TensorFlow Datasets sorts, but which it doesn't store:
    `Forest_Forest_687.jpg` of `Forest_687.jpg`."""
    name = examples.text(features["filename"][0])
    return f"{name.rpartition('_')[0]}_{name}"


def _of_label(features: Features, label: int) -> str:
    """Caltech-101's files are numbered within each class: `12/image_0003.jpg`, the label and the
    file's name."""
    return f"{label}/{examples.text(features['image/file_name'][0])}"


KEYS: dict[str, Callable[[Features, int], str]] = {
    "class-and-filename": _of_class,
    "label-and-file-name": _of_label,
}
"""Keys that aren't features themselves, by their names in cards."""


class _Described(NamedTuple):
    """An `examples.Describe`. The key is the feature or rule that the card names, or the position
    in the split if there is none."""

    source: str
    key: str
    label: str
    groups: float
    """How many values of the feature form one class: VTAB groups adjacent ones."""

    def __call__(self, features: Features, place: int) -> tuple[str, int]:
        label = (
            RULES[self.label](features)
            if self.label in RULES
            else int(float(features[self.label][0]) // self.groups)
        )
        if self.key in KEYS:
            return KEYS[self.key](features, label), label
        return (
            examples.text(features[self.key][0])
            if features.get(self.key)
            else f"{self.source}/{place}"
        ), label


def _numbers(folder: Path) -> list[int]:
    return [int(part) if part.isdecimal() else -1 for part in folder.name.split(".")]
