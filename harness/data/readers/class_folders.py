"""EuroSAT and RESISC45: a folder a class, `Forest/Forest_687.jpg`; their keys are
`Forest_Forest_687.jpg` and follow from the counts."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from harness.data.readers.files import find, image_records, need
from harness.data.readers.record import Record
from harness.data.splits import select
from harness.errors import BadInput
from harness.tasks.cards import SplitName, TaskCard

ARGUMENTS = ("folders", "images", "name")
TEMPLATE = re.compile(r"([^{}]|\{class\}|\{number(:0\dd?)?\})*")
"""Of the name; Python's own formatting would make one of any length."""


def present(card: TaskCard, root: Path | None) -> bool:
    return find(card, root, *_places(card)) is not None


def keys(card: TaskCard, root: Path | None, source: str) -> Sequence[str]:
    """`Forest_Forest_687.jpg`: the class, and the file's name."""
    return list(_files(card))


def labels_of(card: TaskCard, names: Sequence[str]) -> list[int]:
    """The classes of keys, which need no data: folders in alphabetical order."""
    files, labels = _files(card), {name: label for label, name in enumerate(sorted(_images(card)))}
    return [labels[files[key].split("/")[0]] for key in names]


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    folder = need(card, root, *_places(card)).parent
    files, chosen = _files(card), select(card, split, partial(keys, card, root))
    return image_records(
        card,
        [
            (key, label, folder / files[key])
            for key, label in zip(chosen, labels_of(card, chosen), strict=True)
        ],
    )


def check(card: TaskCard, root: Path | None) -> None:
    """The card counts images of as many classes as it has."""
    if len(_images(card)) != card.classes:
        raise BadInput(
            f"card {card.path}: reader.images has {len(_images(card))} classes, expected"
            f" {card.classes}."
        )


def _images(card: TaskCard) -> dict[str, int]:
    """How many images each class has."""
    return card.reader.argument("images", card.name, dict)


def _files(card: TaskCard) -> dict[str, str]:
    """Paths by key."""
    template = card.reader.argument("name", card.name, str)
    if TEMPLATE.fullmatch(template) is None:
        raise BadInput(
            f"task {card.name}: name in its card's [reader] is {template[:60]!r}, expected e.g."
            " '{class}_{number:03}.jpg'."
        )
    names = (
        (of_class, template.format(number=number, **{"class": of_class}))
        for of_class, n in _images(card).items()
        for number in range(1, n + 1)
    )
    return {f"{of_class}_{name}": f"{of_class}/{name}" for of_class, name in names}


def _places(card: TaskCard) -> list[str]:
    """Where the first class's folder may be."""
    first = min(_images(card))
    return [
        f"{folder}/{first}".removeprefix("./")
        for folder in card.reader.argument("folders", card.name, list)
    ]
