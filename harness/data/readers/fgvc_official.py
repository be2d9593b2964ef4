"""FGVC from the datasets' own files, for those who lack VPT's lists: the official training set,
split by a seed into train and val.

The split is not VPT's, and scores on it are not comparable to those: so every key of train and val
begins with `not-vpt-split:`, which sets the fingerprint apart. Flowers has an official val and no
such mark. The seeded split is numpy's RandomState(seed).permutation of the sorted keys: the first
are train, as many as the card says, the others val.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.data.readers import matlab
from harness.data.readers.files import by_alpha, find, image_records, in_order, need, stamp
from harness.data.readers.lists import inside, lines_of, name_of, refuse_doubles, whole
from harness.data.readers.record import Record
from harness.errors import BadInput
from harness.tasks.cards import SplitName, TaskCard

ARGUMENTS = ("alpha", "counts", "folder", "layout", "seed")
MARK = "not-vpt-split:"


LABELS_OF_CARS = (
    "They were a download of their own"
    " (https://ai.stanford.edu/~jkrause/cars/cars_test_annos_withlabels.mat, which answers no"
    " more); copies of the data set on Kaggle and Hugging Face have the file under this name."
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


def present(card: TaskCard, root: Path | None) -> bool:
    """Whether the official lists are there, and VPT's are not."""
    folder = card.reader.argument("folder", card.name, str)
    lists = [f"{folder}/{name}" for name in FIRST[_layout(card)]]
    of_vpt = find(card, root, f"{folder}/train.json", f"{card.name}/train.json")
    return of_vpt is None and find(card, root, *lists) is not None


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    listed = _listed(card, root)
    labels = {name: label for label, name in enumerate(in_order(one.of_class for one in listed))}
    official_val = any(one.part == "val" for one in listed)
    if split == "test" or official_val:
        return image_records(
            card,
            [(one.key, labels[one.of_class], one.path) for one in listed if one.part == split],
            by_alpha(card),
        )
    training = sorted((one for one in listed if one.part == "train"), key=lambda one: one.key)
    shuffled = np.random.RandomState(card.reader.argument("seed", card.name, int)).permutation(
        len(training)
    )
    n = card.sizes["train"]
    chosen = [training[place] for place in (shuffled[:n] if split == "train" else shuffled[n:])]
    return image_records(
        card, [(MARK + one.key, labels[one.of_class], one.path) for one in chosen], by_alpha(card)
    )


def check(card: TaskCard, root: Path | None) -> None:
    """The lists have as many classes as the card."""
    found = len({one.of_class for one in _listed(card, root)})
    if found != card.classes:
        raise BadInput(
            f"task {card.name}: the official lists have {found} classes, expected {card.classes}."
            " Get them again."
        )


def _layout(card: TaskCard) -> str:
    layout = card.reader.argument("layout", card.name, str)
    if layout not in LAYOUTS:
        raise BadInput(
            f"task {card.name}: 'layout' in its card's [reader] is {layout[:60]!r}, expected one of"
            f" {', '.join(LAYOUTS)}."
        )
    return layout


def _listed(card: TaskCard, root: Path | None) -> list[Listed]:
    layout, folder = _layout(card), card.reader.argument("folder", card.name, str)
    first = need(card, root, *(f"{folder}/{name}" for name in FIRST[layout]))
    lists = sorted(
        path for place in {first.parent, first.parent.parent} for path in place.glob("*.[mt][ax]t")
    )
    key = (
        layout,
        first,
        tuple((path, stamp(path)) for path in lists),
        repr(card.reader.arguments.get("counts")),
    )
    if key not in _KEPT:
        _KEPT.clear()
        _KEPT[key] = _read(card, layout, first)
    return _KEPT[key]


_KEPT: dict[tuple, list[Listed]] = {}
"""The lists that were last read: every split and every check asks for them."""


def _read(card: TaskCard, layout: str, first: Path) -> list[Listed]:
    try:
        found = LAYOUTS[layout](card, first)
    except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        # a .mat file may hold anything
        raise BadInput(
            f"task {card.name}: the lists in {first.parent} are not what they should be. Get them"
            " again."
        ) from error
    refuse_doubles(card, first, [one.key for one in found])
    for part in dict.fromkeys(one.part for one in found):
        whole(card, first, part, [one.key for one in found if one.part == part])
    return found


def _cub(card: TaskCard, images_txt: Path) -> list[Listed]:
    """CUB-200-2011 and NABirds: three lists of `id value`. NABirds' ids are UUIDs and its classes
    sparse numbers."""
    folder = images_txt.parent
    columns = {}
    for name in ("images", "image_class_labels", "train_test_split"):
        pairs = [line.split(maxsplit=1) for line in lines_of(card, folder / f"{name}.txt")]
        if any(len(pair) != 2 for pair in pairs):
            raise BadInput(
                f"task {card.name}: {folder / name}.txt has a line without two columns. Get it"
                " again."
            )
        refuse_doubles(card, folder / f"{name}.txt", (id for id, _ in pairs))
        columns[name] = dict(pairs)
    paths, of_class, trained = columns.values()
    paths = {id: name_of(path) for id, path in paths.items()}
    if not paths.keys() == of_class.keys() == trained.keys():
        raise BadInput(
            f"task {card.name}: the lists in {folder} don't name the same images. Get them again."
        )
    return [
        Listed(
            path,
            of_class[id],
            "train" if trained[id] == "1" else "test",
            inside(card, folder / "images", path),
        )
        for id, path in paths.items()
    ]


def _flowers(card: TaskCard, setid: Path) -> list[Listed]:
    labels = _fields(card, setid.parent / "imagelabels.mat", "labels")["labels"].reshape(-1)
    parts = _fields(card, setid, "trnid", "valid", "tstid")
    return [
        Listed(
            f"jpg/image_{number:05}.jpg",
            str(labels[number - 1]),
            part,
            setid.parent / "jpg" / f"image_{number:05}.jpg",
        )
        for field, part in (("trnid", "train"), ("valid", "val"), ("tstid", "test"))
        for number in parts[field].reshape(-1).tolist()
    ]


def _dogs(card: TaskCard, train_list: Path) -> list[Listed]:
    folder = train_list.parent.parent if train_list.parent.name == "lists" else train_list.parent
    found = []
    for part in ("train", "test"):
        fields = _fields(card, train_list.with_name(f"{part}_list.mat"), "file_list", "labels")
        for entry, label in zip(
            fields["file_list"].reshape(-1), fields["labels"].reshape(-1), strict=True
        ):
            name = str(entry.item() if hasattr(entry, "item") else entry)
            found.append(Listed(name, str(int(label)), part, inside(card, folder / "Images", name)))
    return found


def _cars(card: TaskCard, annotations: Path) -> list[Listed]:
    """The combined list of `car_ims/`, or the devkit's two lists."""
    found = []
    if annotations.name == "cars_annos.mat":
        for row in _fields(card, annotations, "annotations")["annotations"].reshape(-1):
            name, part = (
                str(row["relative_im_path"].item()),
                "test" if int(row["test"].item()) else "train",
            )
            found.append(
                Listed(
                    name,
                    str(int(row["class"].item())),
                    part,
                    inside(card, annotations.parent, name),
                )
            )
        return found
    folder = (
        annotations.parent.parent if annotations.parent.name == "devkit" else annotations.parent
    )
    for part, name in (
        ("train", "cars_train_annos.mat"),
        ("test", "cars_test_annos_withlabels.mat"),
    ):
        place = (
            annotations.with_name(name) if annotations.with_name(name).is_file() else folder / name
        )
        if part == "test" and not place.is_file():
            raise BadInput(
                f"task {card.name}: no {name} in {annotations.parent} or {folder}: the labels of"
                " the test images were never in the devkit, whose cars_test_annos.mat has boxes"
                f" alone. {LABELS_OF_CARS}"
            )
        for row in _fields(card, place, "annotations")["annotations"].reshape(-1):
            path = f"cars_{part}/{row['fname'].item()}"
            found.append(
                Listed(path, str(int(row["class"].item())), part, inside(card, folder, path))
            )
    return found


FIRST = {
    "cub": ("images.txt",),
    "flowers": ("setid.mat",),
    "dogs": ("lists/train_list.mat", "train_list.mat"),
    "cars": ("cars_annos.mat", "devkit/cars_train_annos.mat", "cars_train_annos.mat"),
}
"""By layout, the list that shows that it is there."""
LAYOUTS: dict[str, Callable[[TaskCard, Path], list[Listed]]] = {
    "cub": _cub,
    "flowers": _flowers,
    "dogs": _dogs,
    "cars": _cars,
}


def _fields(card: TaskCard, path: Path, *names: str) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise BadInput(f"task {card.name}: no file {path}. Get a whole copy.")
    return matlab.read(card.name, path, names, stamp(path))
