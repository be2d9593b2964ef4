"""Oxford Flowers 102: `imagelabels.mat` (labels, from 1), `setid.mat` (trnid, valid, tstid) and
`jpg/image_00001.jpg`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from harness.data.readers import matlab
from harness.data.readers.files import find, image_records, need, stamp
from harness.data.readers.lists import whole
from harness.data.readers.record import Record
from harness.data.splits import select
from harness.errors import BadInput
from harness.tasks.cards import SplitName, TaskCard

ARGUMENTS = ("counts",)
FIELDS = {"train": "trnid", "validation": "valid", "test": "tstid"}


def present(card: TaskCard, root: Path | None) -> bool:
    return (
        find(card, root, *_names("setid.mat")) is not None
        and find(card, root, *_names("imagelabels.mat")) is not None
    )


def keys(card: TaskCard, root: Path | None, source: str) -> Sequence[str]:
    """Names of image files."""
    names = [
        f"image_{number:05}.jpg" for number in _column(card, root, "setid.mat", FIELDS[source])
    ]
    return whole(card, need(card, root, *_names("setid.mat")), source, names)


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    labels = _column(card, root, "imagelabels.mat", "labels")
    folder = need(card, root, *_names("setid.mat")).parent / "jpg"
    chosen = [(key, int(key[6:11])) for key in select(card, split, partial(keys, card, root))]
    if any(not 0 < number <= len(labels) for _, number in chosen):
        raise BadInput(
            f"task {card.name}: imagelabels.mat has {len(labels)} labels, too few for setid.mat."
            " Get both again."
        )
    return image_records(
        card, [(key, int(labels[number - 1]) - 1, folder / key) for key, number in chosen]
    )


def check(card: TaskCard, root: Path | None) -> None:
    """Nothing beyond what each split shows."""


def _names(name: str) -> tuple[str, str]:
    return name, f"flowers-102/{name}"


def _column(card: TaskCard, root: Path | None, name: str, field: str) -> np.ndarray:
    path = need(card, root, *_names(name))
    found = matlab.read(card.name, path, (field,), stamp(path))[field]
    if found.dtype.kind not in "iuf":
        raise BadInput(
            f"task {card.name}: {field} of {path} is {found.dtype}, expected numbers. Get it again."
        )
    return found.reshape(-1).astype(np.int64)
