"""FGVC as VPT's authors split it: `{train,val,test}.json`, each `{"relative/path.jpg": class id}`,
beside the images of the original.

Ids are renumbered from 0 by their order over all three lists, as integers where they are integers.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from harness.data.readers.files import by_alpha, image_records, in_order, need
from harness.data.readers.lists import name_of, refuse_doubles
from harness.data.readers.record import Record
from harness.errors import BadInput
from harness.tasks.cards import SPLITS, SplitName, TaskCard
from harness.text import visible

ARGUMENTS = ("alpha", "folder", "images")


def present(card: TaskCard, root: Path | None) -> bool:
    return root is not None and any(
        (_folder(card, root) / f"{split}.json").is_file() for split in SPLITS
    )


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    """In the list's own order."""
    labels = {of_class: label for label, of_class in enumerate(classes(card, root))}
    images = _folder(card, root) / card.reader.argument("images", card.name, str)
    return image_records(
        card,
        [
            (path, labels[of_class], images / path)
            for path, of_class in _list(card, root, split).items()
        ],
        by_alpha(card),
    )


def check(card: TaskCard, root: Path | None) -> None:
    """No image is in two lists, and the lists have as many classes as the card."""
    seen: dict[str, str] = {}
    for split in SPLITS:
        for path in _list(card, root, split):
            if path in seen:
                raise BadInput(
                    f"task {card.name}: {path} is in {seen[path]}.json and in {split}.json. Get"
                    " VPT's lists again."
                )
            seen[path] = split
    found = len(classes(card, root))
    if found != card.classes:
        raise BadInput(
            f"task {card.name}: the lists have {found} classes, expected {card.classes}. Get VPT's"
            " lists again."
        )


def classes(card: TaskCard, root: Path | None) -> list[str]:
    """The ids of all three lists as text, in order."""
    return in_order(of_class for split in SPLITS for of_class in _list(card, root, split).values())


def _folder(card: TaskCard, root: Path | None) -> Path:
    name = card.reader.argument("folder", card.name, str)
    return root / name if root is not None else Path(name)


def _list(card: TaskCard, root: Path | None, split: SplitName) -> dict[str, str]:
    path = need(card, root, f"{card.reader.argument('folder', card.name, str)}/{split}.json")
    try:
        # whatever the file's encoding is, and with or without a mark
        pairs = json.loads(path.read_bytes(), object_pairs_hook=list)
        found = [(name_of(str(name)), str(of_class)) for name, of_class in pairs]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(
            f"task {card.name}: {path} is damaged, or no object of paths and classes. Get VPT's"
            " lists again."
        ) from error
    for name, of_class in found:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise BadInput(
                f"task {card.name}: {path} names {name[:60]!r}, which leaves the folder of images."
            )
        if re.fullmatch(r"[\w.-]{1,60}", of_class) is None:
            raise BadInput(
                f"task {card.name}: {path} has {of_class[:40]!r} for the class of {visible(name)},"
                " expected a number or a name."
            )
    refuse_doubles(card, path, (name for name, _ in found))
    if len(found) != card.sizes.get(split, 0):
        expected = card.sizes.get(split, 0)
        raise BadInput(
            f"task {card.name}: {split} has {len(found)} records, expected {expected} ({path}). Get"
            " VPT's lists again."
        )
    return dict(found)
