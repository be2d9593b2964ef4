"""One .npz next to its card: `<split>_images` uint8 (n, h, w) or (n, h, w, 3), and `<split>_labels`
(n,) of integers; optionally `<split>_keys` (n,), their names, integers or strings.

For segmentation, in place of the labels: `<split>_masks` uint8 (n, h, w), 255 where a pixel isn't
scored.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.data.readers.reader import TaskReader
from harness.data.readers.record import Mask, Record
from harness.errors import BadInput
from harness.io.limits import check_zip
from harness.tasks.cards import SplitName
from harness.tasks.kinds import IGNORED


class Arrays(TaskReader):
    format = "arrays"
    arguments = ("bytes", "file", "sha256")

    def records(self, split: SplitName) -> Sequence[Record]:
        """The rows of the split's arrays. The file is read without pickle, and only this split's
        arrays."""
        file = self._file()
        stat = file.stat()
        images, targets, keys = _arrays(
            self.card.name,
            file,
            split,
            "masks" if self.card.masked else "labels",
            stat.st_mtime_ns,
        )
        stamp = f"{stat.st_size}/{stat.st_mtime_ns}/{stat.st_ctime_ns}"
        if self.card.masked:
            self._check_masks(file, split, targets)
            masks = [Mask(partial(_raw, mask), partial(np.asarray, mask)) for mask in targets]
            labels = [0] * len(masks)
        else:
            masks, labels = [None] * len(targets), targets
        raw = self._raw()
        return [
            Record(
                key,
                int(label),
                partial(raw, image),
                partial(_image, image),
                lambda: stamp,
                mask=mask,
            )
            for key, label, image, mask in zip(keys, labels, images, masks, strict=True)
        ]

    def check(self) -> None:
        """The file's checksum, if the card has one."""
        if "sha256" not in self.card.reader.arguments:
            return
        file, expected = self._file(), self.argument("sha256", str)
        with file.open("rb") as content:
            actual = hashlib.file_digest(content, "sha256").hexdigest()
        if actual != expected:
            raise self.error(
                f"{file} has sha256 {actual}, expected {expected}. Download this file"
                " again, or fix its card."
            )

    def _file(self) -> Path:
        file = self.card.path.parent / self.argument("file", str)
        if not file.is_file():
            howto = f" To get it: {self.card.howto.rstrip('.')}." if self.card.howto else ""
            raise self.error(f"no file {file}.{howto}")
        return file

    def _raw(self) -> Callable[[np.ndarray], bytes]:
        """An image's bytes, for the fingerprint: preceded by its shape, as the same bytes in
        another shape are another image; or just its pixels, as they were published."""
        stored = self.card.reader.arguments.get("bytes", "shape and pixels")
        if stored not in ("shape and pixels", "pixels"):
            raise self.error(
                f"'bytes' in its card's [reader] is {str(stored)[:40]!r}, expected 'pixels' or"
                " 'shape and pixels'."
            )
        return np.ndarray.tobytes if stored == "pixels" else _raw

    def _check_masks(self, file: Path, split: str, masks: np.ndarray) -> None:
        wrong = np.setdiff1d(np.unique(masks), [*range(self.card.classes), IGNORED])
        if wrong.size:
            raise self.error(
                f"{split}_masks of {file} has class {wrong[0]}, expected 0 to"
                f" {self.card.classes - 1}, or {IGNORED}."
            )


@lru_cache(maxsize=3)
def _arrays(
    task: str, file: Path, split: str, target: str, changed: int
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Images, labels or masks, and keys of a split. Raises `BadInput`."""
    keys: Any = None
    try:
        check_zip(file)
        with file.open("rb") as content, np.load(content, allow_pickle=False) as arrays:
            images, targets = (np.asarray(arrays[f"{split}_{what}"]) for what in ("images", target))
            if f"{split}_keys" in arrays:
                keys = np.asarray(arrays[f"{split}_keys"])
    except KeyError as error:
        raise BadInput(
            f"task {task}: {file} has no {split}_images or no {split}_{target}."
        ) from error
    except Exception as error:
        # NumPy and zipfile raise many kinds for an invalid file
        raise BadInput(
            f"task {task}: {file} is damaged, or not an npz file of plain arrays."
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
    if keys is None:
        return images, targets, [f"{split}/{row}" for row in range(len(images))]
    names = [str(key) for key in keys.reshape(-1).tolist()]
    if keys.dtype.kind not in "iuU" or keys.shape != images.shape[:1] or len({*names}) < len(names):
        raise BadInput(
            f"task {task}: {split}_keys of {file} is {keys.dtype} {keys.shape}, expected"
            f" {images.shape[:1]} integers or strings, without repeats."
        )
    return images, targets, names


def _raw(row: np.ndarray) -> bytes:
    return repr(row.shape).encode() + row.tobytes()


def _image(row: np.ndarray) -> Image.Image:
    return Image.fromarray(row).convert("RGB")
