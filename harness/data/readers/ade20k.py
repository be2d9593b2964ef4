"""ADE20K as SceneParse150 publishes it: `images/{training,validation}/NAME.jpg` and
`annotations/{training,validation}/NAME.png`.

A pixel of an annotation is 0, which isn't scored (255 for us), or 1 to 150: our 0 to 149. Test is
the official validation set, whose labels are the only public ones; so val, on which tuning is
scored, is held out from the training set: numpy's RandomState(seed).permutation of the sorted
names, of which the card's number go to train, and the rest to val.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from harness.data.images import opened, rgb
from harness.data.readers.files import stamp
from harness.data.readers.reader import TaskReader
from harness.data.readers.record import Mask, Record
from harness.errors import BadInput
from harness.tasks.cards import SplitName, TaskCard


class ADE20K(TaskReader):
    format = "ade20k-folder"
    arguments = ("folder", "seed")

    def present(self) -> bool:
        return self.find(*self._places()) is not None

    def records(self, split: SplitName) -> Sequence[Record]:
        images = self.need(*self._places())
        part = "validation" if split == "test" else "training"
        names = sorted(path.stem for path in (images / part).glob("*.jpg"))
        if split != "test":
            shuffled = np.random.RandomState(self.argument("seed", int)).permutation(len(names))
            n = self.card.sizes["train"]
            names = [names[place] for place in (shuffled[:n] if split == "train" else shuffled[n:])]
        records = []
        for name in names:
            image, annotation = (
                images / part / f"{name}.jpg",
                images.parent / "annotations" / part / f"{name}.png",
            )
            if not annotation.is_file():
                raise self.error(
                    f"{image} has no mask: {annotation} is missing. Get a complete copy."
                )
            mask = Mask(annotation.read_bytes, partial(_classes, self.card, image, annotation))
            key = f"{part}/{name}"
            records.append(
                Record(
                    key,
                    0,
                    image.read_bytes,
                    partial(rgb, image),
                    partial(_stamp, image, annotation),
                    mask=mask,
                    file=str(image),
                )
            )
        return records

    def _places(self) -> tuple[str, str]:
        return f"{self.argument('folder', str)}/images", "images"


def _stamp(image: Path, annotation: Path) -> str:
    return f"{stamp(image)} {stamp(annotation)}"


def _classes(card: TaskCard, image: Path, annotation: Path) -> UInt8[np.ndarray, "height width"]:
    with opened(image) as picture:
        size = picture.size
    with opened(annotation) as labels:
        if labels.mode not in ("L", "P"):
            what = f"{annotation} has pixels of kind {labels.mode}, expected 8-bit classes"
            raise BadInput(
                f"task {card.name}: {what}. Get SceneParse150's annotations, not the full set's."
            )
        if labels.size != size:
            sizes = " x ".join(map(str, labels.size)), " x ".join(map(str, size))
            raise BadInput(
                f"task {card.name}: {annotation} is {sizes[0]} pixels, but its image {sizes[1]}."
                " Get a complete copy."
            )
        stored = np.asarray(labels)
    if stored.max() > card.classes:
        raise BadInput(
            f"task {card.name}: {annotation} has the value {stored.max()}, expected 0 to"
            f" {card.classes}. Get a complete copy."
        )
    return stored - np.uint8(1)  # 0 wraps to 255
