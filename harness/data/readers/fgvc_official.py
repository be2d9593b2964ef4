"""FGVC from the datasets' own files, for those who lack VPT's lists: the official training set,
split by a seed into train and val.

The split isn't VPT's, and scores on it aren't comparable to VPT's: so every key of train and val
begins with `not-vpt-split:`, which changes the fingerprint. Flowers has an official val and no such
prefix. The seeded split is numpy's RandomState(seed).permutation of the sorted keys, of which the
card's number go to train, and the rest to val.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.data.readers import matlab
from harness.data.readers.files import image_opener, in_order, stamp
from harness.data.readers.lists import checked_names, inside, name_of, refuse_repeats
from harness.data.readers.reader import TaskReader
from harness.data.readers.record import Record
from harness.tasks.cards import SplitName

MARK = "not-vpt-split:"
FIRST = {
    "cub": ("images.txt",),
    "flowers": ("setid.mat",),
    "dogs": ("lists/train_list.mat", "train_list.mat"),
    "cars": ("cars_annos.mat", "devkit/cars_train_annos.mat", "cars_train_annos.mat"),
}
"""By layout, the list whose presence identifies it."""

LABELS_OF_CARS = (
    "They were a separate download"
    " (https://ai.stanford.edu/~jkrause/cars/cars_test_annos_withlabels.mat, no longer"
    " available); copies of the data set on Kaggle and Hugging Face have the file under this name."
)


@dataclass(frozen=True)
class Listed:
    """One image of the official lists."""

    key: str
    """Its path below the folder of images."""
    of_class: str
    part: str
    """`train`, `val` (Flowers alone) or `test`."""
    path: Path


class FGVCOfficial(TaskReader):
    format = "fgvc-official"
    arguments = ("alpha", "counts", "folder", "layout", "seed")

    def present(self) -> bool:
        """Whether the official lists are present, and VPT's aren't."""
        folder = self.argument("folder", str)
        lists = [f"{folder}/{name}" for name in FIRST[self._layout()]]
        of_vpt = self.find(f"{folder}/train.json", f"{self.card.name}/train.json")
        return of_vpt is None and self.find(*lists) is not None

    def records(self, split: SplitName) -> Sequence[Record]:
        listed = self._listed()
        labels = {
            name: label for label, name in enumerate(in_order(one.of_class for one in listed))
        }
        official_val = any(one.part == "val" for one in listed)
        if split == "test" or official_val:
            return self.images(
                [(one.key, labels[one.of_class], one.path) for one in listed if one.part == split],
                image_opener(self.card),
            )
        training = sorted((one for one in listed if one.part == "train"), key=lambda one: one.key)
        shuffled = np.random.RandomState(self.argument("seed", int)).permutation(len(training))
        n = self.card.sizes["train"]
        chosen = [training[place] for place in (shuffled[:n] if split == "train" else shuffled[n:])]
        return self.images(
            [(MARK + one.key, labels[one.of_class], one.path) for one in chosen],
            image_opener(self.card),
        )

    def check(self) -> None:
        """The lists have as many classes as the card."""
        count = len({one.of_class for one in self._listed()})
        if count != self.card.classes:
            raise self.error(
                f"the official lists have {count} classes, expected {self.card.classes}."
                " Download them again."
            )

    def _layout(self) -> str:
        layout = self.argument("layout", str)
        if layout not in FIRST:
            raise self.error(
                f"'layout' in its card's [reader] is {layout[:60]!r}, expected one of"
                f" {', '.join(FIRST)}."
            )
        return layout

    def _listed(self) -> list[Listed]:
        layout, folder = self._layout(), self.argument("folder", str)
        first = self.need(*(f"{folder}/{name}" for name in FIRST[layout]))
        return self.once("lists", lambda: self._read(layout, first))

    def _read(self, layout: str, first: Path) -> list[Listed]:
        read = {
            "cub": self._cub,
            "flowers": self._flowers,
            "dogs": self._dogs,
            "cars": self._cars,
        }
        try:
            listed = read[layout](first)
        except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            # a .mat file may hold anything
            raise self.error(
                f"the lists in {first.parent} are invalid. Download them again."
            ) from error
        refuse_repeats(self.card, first, [one.key for one in listed])
        for part in dict.fromkeys(one.part for one in listed):
            checked_names(self.card, first, part, [one.key for one in listed if one.part == part])
        return listed

    def _cub(self, images_txt: Path) -> list[Listed]:
        """CUB-200-2011 and NABirds: three lists of `id value`. NABirds' ids are UUIDs and its
        classes sparse numbers."""
        folder = images_txt.parent
        columns = {}
        for name in ("images", "image_class_labels", "train_test_split"):
            pairs = [line.split(maxsplit=1) for line in self.lists.lines(folder / f"{name}.txt")]
            if any(len(pair) != 2 for pair in pairs):
                raise self.error(
                    f"{folder / name}.txt has a line without two columns. Download it again."
                )
            refuse_repeats(self.card, folder / f"{name}.txt", (id for id, _ in pairs))
            columns[name] = dict(pairs)
        paths, of_class, trained = columns.values()
        paths = {id: name_of(path) for id, path in paths.items()}
        if not paths.keys() == of_class.keys() == trained.keys():
            raise self.error(
                f"the lists in {folder} don't name the same images. Download them again."
            )
        return [
            Listed(
                path,
                of_class[id],
                "train" if trained[id] == "1" else "test",
                inside(self.card, folder / "images", path),
            )
            for id, path in paths.items()
        ]

    def _flowers(self, setid: Path) -> list[Listed]:
        labels = self._fields(setid.parent / "imagelabels.mat", "labels").numbers("labels")
        labels = labels.reshape(-1)
        parts = self._fields(setid, "trnid", "valid", "tstid")
        return [
            Listed(
                f"jpg/image_{number:05}.jpg",
                str(labels[number - 1]),
                part,
                setid.parent / "jpg" / f"image_{number:05}.jpg",
            )
            for field, part in (("trnid", "train"), ("valid", "val"), ("tstid", "test"))
            for number in parts.numbers(field).reshape(-1).tolist()
        ]

    def _dogs(self, train_list: Path) -> list[Listed]:
        folder = (
            train_list.parent.parent if train_list.parent.name == "lists" else train_list.parent
        )
        listed = []
        for part in ("train", "test"):
            fields = self._fields(train_list.with_name(f"{part}_list.mat"), "file_list", "labels")
            labels = fields.numbers("labels").reshape(-1)
            for name, label in zip(fields.texts("file_list"), labels, strict=True):
                listed.append(
                    Listed(name, str(int(label)), part, inside(self.card, folder / "Images", name))
                )
        return listed

    def _cars(self, annotations: Path) -> list[Listed]:
        """The combined list of `car_ims/`, or the devkit's two lists."""
        listed = []
        if annotations.name == "cars_annos.mat":
            for row in self._fields(annotations, "annotations").rows("annotations"):
                name, part = row["relative_im_path"], "test" if int(row["test"]) else "train"
                path = inside(self.card, annotations.parent, name)
                listed.append(Listed(name, str(int(row["class"])), part, path))
            return listed
        folder = (
            annotations.parent.parent if annotations.parent.name == "devkit" else annotations.parent
        )
        for part, name in (
            ("train", "cars_train_annos.mat"),
            ("test", "cars_test_annos_withlabels.mat"),
        ):
            place = (
                annotations.with_name(name)
                if annotations.with_name(name).is_file()
                else folder / name
            )
            if part == "test" and not place.is_file():
                raise self.error(
                    f"no {name} in {annotations.parent} or {folder}: the labels of"
                    " the test images were never in the devkit, whose cars_test_annos.mat only has"
                    f" boxes. {LABELS_OF_CARS}"
                )
            for row in self._fields(place, "annotations").rows("annotations"):
                key = f"cars_{part}/{row['fname']}"
                path = inside(self.card, folder, key)
                listed.append(Listed(key, str(int(row["class"])), part, path))
        return listed

    def _fields(self, path: Path, *names: str) -> matlab.Variables:
        if not path.is_file():
            raise self.error(f"no file {path}. Get a complete copy.")
        return matlab.read(self.card.name, path, names, stamp(path))
