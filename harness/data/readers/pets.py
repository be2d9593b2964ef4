"""Oxford-IIIT Pet: `annotations/{trainval,test}.txt` with lines `Abyssinian_100 1 1 1` (name, class
from 1, ...), `images/`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from harness.data.images import rgb
from harness.data.readers.files import find, image_records, need
from harness.data.readers.lists import inside, lines_of, name_of, whole
from harness.data.readers.record import Record
from harness.data.splits import parse, select
from harness.errors import BadInput
from harness.tasks.cards import SplitName, TaskCard

ARGUMENTS = ("counts",)
LISTS = {"train": "trainval", "test": "test"}


def present(card: TaskCard, root: Path | None) -> bool:
    return find(card, root, *_names("train")) is not None


def keys(card: TaskCard, root: Path | None, source: str) -> Sequence[str]:
    """Names of image files."""
    return list(_labels(card, root, source))


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    source, _, _ = parse(card.slices[split])
    labels = _labels(card, root, source)
    images = need(card, root, *_names(source)).parent.parent / "images"
    files = [
        (key, labels[key], inside(card, images, key))
        for key in select(card, split, partial(keys, card, root))
    ]
    # as TensorFlow decodes: a few are RGBA
    return image_records(card, files, partial(rgb, alpha="dropped"))


def check(card: TaskCard, root: Path | None) -> None:
    """Nothing beyond what each split shows."""


def _labels(card: TaskCard, root: Path | None, source: str) -> dict[str, int]:
    path = need(card, root, *_names(source))
    names, labels = [], []
    for line in lines_of(card, path):
        if line.startswith("#"):
            continue
        parts = line.split()
        if len(parts) != 4 or not parts[1].isdecimal():
            raise BadInput(
                f"task {card.name}: {path} has the line {line[:60]!r}, expected 'Abyssinian_100 1"
                " 1 1'."
            )
        names.append(name_of(f"{parts[0]}.jpg"))
        labels.append(int(parts[1]) - 1)
    return dict(zip(whole(card, path, source, names), labels, strict=True))


def _names(source: str) -> tuple[str, str]:
    return f"annotations/{LISTS[source]}.txt", f"oxford-iiit-pet/annotations/{LISTS[source]}.txt"
