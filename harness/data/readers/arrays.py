"""One .npz beside its card: `<split>_images` uint8 (n, h, w) or (n, h, w, 3), and `<split>_labels`
(n,) of integers.

For segmentation, in place of the labels: `<split>_masks` uint8 (n, h, w), 255 where a pixel doesn't
count.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from harness.data.readers.record import Mask, Record
from harness.errors import BadInput
from harness.io.limits import check_zip
from harness.tasks.cards import IGNORED, SplitName, TaskCard

ARGUMENTS = ("file", "sha256")


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    """The rows of the split's arrays. The file is read without pickle, and only this split's arrays
    are."""
    file = _file(card)
    stat = file.stat()
    images, targets = _arrays(
        card.name,
        file,
        split,
        "masks" if card.kind == "segmentation" else "labels",
        stat.st_mtime_ns,
    )
    stamp = f"{stat.st_size}/{stat.st_mtime_ns}/{stat.st_ctime_ns}"
    if card.kind == "segmentation":
        _check_masks(card, file, split, targets)
        masks = [Mask(partial(_raw, mask), partial(np.asarray, mask)) for mask in targets]
        labels = [0] * len(masks)
    else:
        masks, labels = [None] * len(targets), targets
    return [
        Record(
            f"{split}/{row}",
            int(label),
            partial(_raw, images[row]),
            partial(_image, images[row]),
            lambda: stamp,
            mask=mask,
        )
        for row, (label, mask) in enumerate(zip(labels, masks, strict=True))
    ]


def check(card: TaskCard, root: Path | None) -> None:
    """The file's checksum, where the card gives one."""
    if "sha256" not in card.reader.arguments:
        return
    file, expected = _file(card), card.reader.argument("sha256", card.name, str)
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != expected:
        raise BadInput(
            f"task {card.name}: {file} has sha256 {found}, expected {expected}. Get this file"
            " again, or mend its card."
        )


def _file(card: TaskCard) -> Path:
    file = card.path.parent / card.reader.argument("file", card.name, str)
    if not file.is_file():
        raise BadInput(
            f"task {card.name}: no file"
            f" {file}.{' To get it: ' + card.howto.rstrip('.') + '.' if card.howto else ''}"
        )
    return file


def _check_masks(card: TaskCard, file: Path, split: str, masks: np.ndarray) -> None:
    wrong = np.setdiff1d(np.unique(masks), [*range(card.classes), IGNORED])
    if wrong.size:
        raise BadInput(
            f"task {card.name}: {split}_masks of {file} has class {wrong[0]}, expected 0 to"
            f" {card.classes - 1}, or {IGNORED}."
        )


@lru_cache(maxsize=3)
def _arrays(
    task: str, file: Path, split: str, target: str, changed: int
) -> tuple[np.ndarray, np.ndarray]:
    try:
        check_zip(file)
        with file.open("rb") as content, np.load(content, allow_pickle=False) as arrays:
            images, targets = (np.asarray(arrays[f"{split}_{what}"]) for what in ("images", target))
    except KeyError as error:
        raise BadInput(
            f"task {task}: {file} has no {split}_images or no {split}_{target}."
        ) from error
    except Exception as error:
        # NumPy and zipfile raise many kinds for a file that isn't what it should be
        raise BadInput(
            f"task {task}: {file} is damaged, or no npz file of plain arrays."
        ) from error
    if (
        images.dtype != np.uint8
        or images.ndim not in (3, 4)
        or images.shape[3:] not in ((), (3,))
        or 0 in images.shape
    ):
        raise BadInput(
            f"task {task}: {split}_images of {file} is {images.dtype} {images.shape}, expected"
            " uint8 (n, h, w) or (n, h, w, 3)."
        )
    if target == "masks" and (targets.dtype != np.uint8 or targets.shape != images.shape[:3]):
        raise BadInput(
            f"task {task}: {split}_masks of {file} is {targets.dtype} {targets.shape}, expected"
            f" uint8 {images.shape[:3]}."
        )
    if target == "labels" and (targets.dtype.kind not in "iu" or targets.shape != images.shape[:1]):
        raise BadInput(
            f"task {task}: {split}_labels of {file} is {targets.dtype} {targets.shape}, expected"
            f" integers {images.shape[:1]}."
        )
    return images, targets


def _raw(row: np.ndarray) -> bytes:
    """Led by the shape: the same bytes in another shape are another image."""
    return repr(row.shape).encode() + row.tobytes()


def _image(row: np.ndarray) -> Image.Image:
    return Image.fromarray(row).convert("RGB")
