"""Tiny files of FGVC's tasks, VPT's lists and the official ones, and the shipped cards cut down to
them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from harness.tasks.cards import TaskCard, load_cards

RNG = np.random.default_rng(0)
N, CLASSES = 24, 3
"""Images in all; every third one from the second on is test: 16 train, 8 test."""


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(path)


def is_train(row: int) -> bool:
    return row % 3 != 1


def write_json(root: Path, task: str, images: str) -> None:
    lists: dict[str, dict[str, int]] = {"train": {}, "val": {}, "test": {}}
    for row in range(N):
        name = f"class{row % CLASSES}/{row:04}.jpg"
        picture(root / task / images / name)
        split = "test" if not is_train(row) else "val" if row in (0, 8, 15) else "train"
        lists[split][name] = (9, 100, 11)[row % CLASSES]  # sparse; as text 100 would come first
    for split, content in lists.items():
        (root / task / f"{split}.json").write_text(json.dumps(content))


def write_cub(root: Path, ids: Callable[[int], str] = str, folder: str = "CUB_200_2011") -> None:
    (root / folder).mkdir(parents=True)
    lists: dict[str, list[str]] = {"images": [], "image_class_labels": [], "train_test_split": []}
    for row in range(N):
        name = f"{row % CLASSES}.bird/{row:04}.jpg"
        picture(root / folder / "images" / name)
        lists["images"].append(f"{ids(row + 1)} {name}")
        lists["image_class_labels"].append(f"{ids(row + 1)} {(9, 100, 11)[row % CLASSES]}")
        lists["train_test_split"].append(f"{ids(row + 1)} {int(is_train(row))}")
    for name, lines in lists.items():
        (root / folder / f"{name}.txt").write_text("\n".join(lines) + "\n")


def write_nabirds(root: Path) -> None:
    write_cub(root, lambda row: f"{row:08x}-0000-4000-8000-000000000000", "nabirds")


def write_flowers(root: Path) -> None:
    folder = root / "oxford_flowers"
    for number in range(1, N + 1):
        picture(folder / "jpg" / f"image_{number:05}.jpg")
    savemat(
        folder / "imagelabels.mat",
        {"labels": np.array([[row % CLASSES + 1 for row in range(N)]], np.uint8)},
    )
    savemat(
        folder / "setid.mat",
        {"trnid": [range(1, 14)], "valid": [range(14, 17)], "tstid": [range(17, 25)]},
    )


def cells(names: list[str]) -> np.ndarray:
    found = np.empty((len(names), 1), dtype=object)
    found[:, 0] = names
    return found


def write_dogs(root: Path) -> None:
    folder = root / "stanford_dogs"
    (folder / "lists").mkdir(parents=True)
    for part, rows in (
        ("train", [r for r in range(N) if is_train(r)]),
        ("test", [r for r in range(N) if not is_train(r)]),
    ):
        names = [f"n0{row % CLASSES}-dog/n0{row % CLASSES}_{row}.jpg" for row in rows]
        for name in names:
            picture(folder / "Images" / name)
        labels = np.array([[row % CLASSES + 1] for row in rows], np.uint8)
        savemat(
            folder / "lists" / f"{part}_list.mat", {"file_list": cells(names), "labels": labels}
        )


def rows_of(fields: dict[str, list]) -> np.ndarray:
    """A MATLAB structure array, one row."""
    found = np.empty(
        (1, len(next(iter(fields.values())))), dtype=[(name, object) for name in fields]
    )
    for name, values in fields.items():
        for place, value in enumerate(values):
            found[name][0, place] = value
    return found


def write_cars_combined(root: Path) -> None:
    folder = root / "stanford_cars"
    names = [f"car_ims/{row + 1:06}.jpg" for row in range(N)]
    for name in names:
        picture(folder / name)
    fields = {
        "relative_im_path": names,
        "class": [row % CLASSES + 1 for row in range(N)],
        "test": [int(not is_train(row)) for row in range(N)],
    }
    savemat(folder / "cars_annos.mat", {"annotations": rows_of(fields)})


def write_cars_devkit(root: Path) -> None:
    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    for part, file in (
        ("train", "devkit/cars_train_annos.mat"),
        ("test", "cars_test_annos_withlabels.mat"),
    ):
        rows = [row for row in range(N) if is_train(row) == (part == "train")]
        names = [f"{place + 1:05}.jpg" for place in range(len(rows))]
        for name in names:
            picture(folder / f"cars_{part}" / name)
        savemat(
            folder / file,
            {
                "annotations": rows_of(
                    {"class": [row % CLASSES + 1 for row in rows], "fname": names}
                )
            },
        )


def card_of(task: str, train: int = 13, val: int = 3) -> TaskCard:
    """The shipped card, cut down."""
    card = load_cards()[task]
    counts = (
        {"train": 13, "val": 3, "test": 8} if task == "oxford_flowers" else {"train": 16, "test": 8}
    )
    sources = tuple(
        one.model_copy(update={"counts": counts}) if one.format == "fgvc-official" else one
        for one in card.sources
    )
    return card.model_copy(
        update={
            "classes": CLASSES,
            "sizes": {"train": train, "val": val, "test": 8},
            "sources": sources,
        }
    )
