"""Readers: one class per format, each in its own file. A reader returns a split's records in order,
and decodes nothing until it is needed."""

from collections.abc import Sequence
from pathlib import Path

from harness.data.readers.ade20k import ADE20K
from harness.data.readers.arrays import Arrays
from harness.data.readers.cifar100 import CIFAR100
from harness.data.readers.class_folders import ClassFolders
from harness.data.readers.clevr import CLEVR
from harness.data.readers.dmlab import DMLab
from harness.data.readers.dsprites import DSprites
from harness.data.readers.dtd import DTD
from harness.data.readers.fgvc_json import FGVCJson
from harness.data.readers.fgvc_official import FGVCOfficial
from harness.data.readers.flowers102 import Flowers102
from harness.data.readers.kitti import KITTI
from harness.data.readers.patch_camelyon import PatchCamelyon
from harness.data.readers.pets import Pets
from harness.data.readers.prepared import Prepared
from harness.data.readers.reader import TaskReader
from harness.data.readers.record import Record
from harness.data.readers.retinopathy import Retinopathy
from harness.data.readers.smallnorb import SmallNORB
from harness.data.readers.sun397 import SUN397
from harness.data.readers.svhn import SVHN
from harness.data.readers.tfds import TFDS
from harness.data.readers.vtab_folder import VTABFolder
from harness.errors import BadInput, nearest, unknown
from harness.tasks.cards import Reader, SplitName, TaskCard

FORMATS: dict[str, type[TaskReader]] = {
    reader.format: reader
    for reader in (
        Prepared,
        VTABFolder,
        CIFAR100,
        SVHN,
        DSprites,
        SmallNORB,
        PatchCamelyon,
        ClassFolders,
        CLEVR,
        DTD,
        Flowers102,
        Pets,
        KITTI,
        SUN397,
        Retinopathy,
        DMLab,
        TFDS,
        FGVCJson,
        FGVCOfficial,
        ADE20K,
        Arrays,
    )
}
"""By the name that a card uses."""


def resolve(card: TaskCard, root: Path | None, pixels: str | None = None) -> TaskCard:
    """The card with one reader: prepared data, else as `originals`.

    `pixels` overrides card and reader. Raises `BadInput` for unknown pixels, or those of another
    kind of task.
    """
    if pixels is not None and pixels not in ("tf", "pil", "vpt"):
        raise unknown("pixels", pixels, ("tf", "pil", "vpt"))
    if pixels is not None and pixels not in card.task_kind.pixels:
        raise BadInput(
            f"task {card.name}: --pixels {pixels} isn't for {card.kind}, which has"
            f" {', '.join(card.task_kind.pixels)}: leave it out."
        )
    ready = Prepared(card, root)
    if ready.present():
        chosen = Reader(format=ready.format, pixels=ready.pixels)
    else:
        chosen = originals(card, root).reader
    return card.model_copy(
        update={"reader": chosen, "sources": (), "pixels": pixels or chosen.pixels or card.pixels}
    )


def originals(card: TaskCard, root: Path | None) -> TaskCard:
    """The card with one reader: the first of its `sources` whose files are present, else its
    `reader`."""
    chosen = next(
        (reader for reader in card.sources if is_present(card, reader, root)), card.reader
    )
    return card.model_copy(
        update={"reader": chosen, "sources": (), "pixels": chosen.pixels or card.pixels}
    )


def is_present(card: TaskCard, reader: Reader, root: Path | None) -> bool:
    """Whether the files that one of a card's readers needs are present."""
    return reader.format in FORMATS and open_reader(with_reader(card, reader), root).present()


def with_reader(card: TaskCard, reader: Reader) -> TaskCard:
    """The card with only this one of its readers."""
    return card.model_copy(update={"reader": reader, "sources": ()})


def open_reader(card: TaskCard, root: Path | None) -> TaskReader:
    """The reader for the card's format. Raises `BadInput` for a format or an argument that this
    version doesn't have."""
    name = card.reader.format
    if name not in FORMATS:
        known = f"(it has {', '.join(FORMATS)}).{nearest(name, FORMATS)} {card.howto}"
        raise BadInput(f"task {card.name}: reader '{name}' is not in this version {known.strip()}")
    reader = FORMATS[name]
    for key in card.reader.arguments:
        if key not in reader.arguments:
            raise BadInput(
                f"card {card.path}: reader.{key}: unknown key for format"
                f" '{name}'.{nearest(key, reader.arguments)}"
            )
    return reader(card, root)


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    """The records of one split, in order; touches no other split. Raises `BadInput` for data that
    are missing, incomplete or wrong."""
    return open_reader(card, root).read(split)


def check(card: TaskCard, root: Path | None) -> None:
    """Reads the lists and labels of all splits, without decoding images. Raises `BadInput`."""
    open_reader(card, root).check_all()
