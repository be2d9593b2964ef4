"""DTD r1.0.1, partition 1: `dtd/labels/{train1,val1,test1}.txt` name images such as
`banded/banded_0002.jpg` in `dtd/images/`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from harness.data.readers.files import find, image_records, need
from harness.data.readers.lists import inside, names_of, whole
from harness.data.readers.record import Record
from harness.data.splits import select
from harness.tasks.cards import SplitName, TaskCard

ARGUMENTS = ("counts",)
LISTS = {"train": "train1", "validation": "val1", "test": "test1"}


def present(card: TaskCard, root: Path | None) -> bool:
    return find(card, root, *_names("train")) is not None


def keys(card: TaskCard, root: Path | None, source: str) -> Sequence[str]:
    """The lines of the list: a class's folder and a file."""
    path = need(card, root, *_names(source))
    return whole(card, path, source, names_of(card, path))


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    folder = need(card, root, *_names("train")).parent.parent / "images"
    classes = sorted({line.split("/")[0] for source in LISTS for line in keys(card, root, source)})
    labels = {name: label for label, name in enumerate(classes)}
    return image_records(
        card,
        [
            (key, labels[key.split("/")[0]], inside(card, folder, key))
            for key in select(card, split, partial(keys, card, root))
        ],
    )


def check(card: TaskCard, root: Path | None) -> None:
    """Nothing beyond what each split shows."""


def _names(source: str) -> tuple[str, str]:
    return f"dtd/labels/{LISTS[source]}.txt", f"labels/{LISTS[source]}.txt"
