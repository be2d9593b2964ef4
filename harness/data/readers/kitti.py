"""KITTI's object images: `training/{image_2,label_2}/000123.{png,txt}` and the devkit's
`mapping/{train_rand,train_mapping}.txt`.

Split by video, as TensorFlow Datasets does: with numpy's RandomState(123), a tenth of the sorted
videos are test, then as many of the rest validation. A label is the largest i with thr[i] < z, z
the smallest depth of a Car, Van or Truck, and 1000 if there is none: class 3 is "no vehicle".
KITTI's own mapping gives 6,347, 423 and 711 images.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.data.readers.lists import checked_names
from harness.data.readers.reader import SlicedReader
from harness.data.readers.record import Record
from harness.tasks.cards import SplitName

THRESHOLDS = np.array([-100.0, 8.0, 20.0, 999.0])
VEHICLES = ("Car", "Van", "Truck")
NO_VEHICLE = 1000.0
"""The depth if there is none, in metres."""

DEPTH = 13
"""Index of the location's z among a label line's 15 columns."""


class KITTI(SlicedReader[str]):
    format = "kitti"
    arguments = ("counts",)

    def present(self) -> bool:
        return self.find(*_places("training/label_2")) is not None

    def keys(self, source: str) -> Sequence[str]:
        """Names of image files."""
        videos = self._videos()
        chosen = split_videos(sorted(set(videos)))[source]
        names = [f"{row:06}.png" for row, video in enumerate(videos) if video in chosen]
        return checked_names(
            self.card, self.need(*_places("mapping/train_rand.txt")), source, names
        )

    def records(self, split: SplitName) -> Sequence[Record]:
        labels = self.need(*_places("training/label_2"))
        images = self.need(*_places("training/image_2"))
        chosen = self.selected(split)
        return self.images(
            [(key, binned(self._depth(labels / f"{key[:6]}.txt")), images / key) for key in chosen],
        )

    def _depth(self, path: Path) -> float:
        depths = [NO_VEHICLE]
        for line in self.lists.lines(path):
            parts = line.split()
            if len(parts) != 15:
                raise self.error(
                    f"{path} has a line of {len(parts)} columns, expected 15. Download it again."
                )
            if parts[0] in VEHICLES:
                try:
                    depths.append(float(parts[DEPTH]))
                except ValueError as error:
                    raise self.error(
                        f"{path} has {parts[DEPTH][:20]!r} for a depth. Download it again."
                    ) from error
        return min(depths)

    def _videos(self) -> tuple[str, ...]:
        """The video of every training image, in order: train_rand gives the line of the mapping
        (from 1), whose second column it is."""
        rand, mapping = (
            self.need(*_places(f"mapping/{name}.txt")) for name in ("train_rand", "train_mapping")
        )
        lines = self.lists.lines(mapping)
        try:
            return tuple(
                lines[int(number) - 1].split()[1]
                for number in ",".join(self.lists.lines(rand)).split(",")
                if number.strip()
            )
        except (ValueError, IndexError) as error:
            raise self.error(
                f"{rand} and {mapping} don't match ({error}). Download both again."
            ) from error


def split_videos(videos: Sequence[str]) -> dict[str, set[str]]:
    """Sorted videos -> those of train, validation and test."""
    rng, tenth = np.random.RandomState(123), int(len(videos) * 0.1)
    test = set(rng.choice(list(videos), tenth, replace=False).tolist())
    rest = sorted(set(videos) - test)
    validation = set(rng.choice(rest, tenth, replace=False).tolist())
    return {"train": set(rest) - validation, "validation": validation, "test": test}


def binned(depth: float) -> int:
    """VTAB's class of the smallest depth, in metres; strict: 8.0 is still class 0."""
    return int(np.searchsorted(THRESHOLDS, depth, side="left")) - 1


def _places(name: str) -> tuple[str, ...]:
    return (
        name,
        f"kitti/{name}",
        f"devkit_object/{name}",
        f"data_object_{name.rpartition('/')[2]}/{name}",
    )
