"""Readers: one file an on-disk format. Each gives a split's records in order and decodes nothing
that isn't asked for."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from harness.data.readers import prepared
from harness.data.readers.record import Record
from harness.errors import BadInput, nearest, unknown
from harness.tasks.cards import SPLITS, Reader, SplitName, TaskCard
from harness.text import plain

FORMATS = {
    "prepared": "harness.data.readers.prepared",
    "vtab-folder": "harness.data.readers.vtab_folder",
    "cifar100": "harness.data.readers.cifar100",
    "svhn": "harness.data.readers.svhn",
    "dsprites": "harness.data.readers.dsprites",
    "smallnorb": "harness.data.readers.smallnorb",
    "patch-camelyon": "harness.data.readers.patch_camelyon",
    "class-folders": "harness.data.readers.class_folders",
    "clevr": "harness.data.readers.clevr",
    "dtd": "harness.data.readers.dtd",
    "flowers102": "harness.data.readers.flowers102",
    "pets": "harness.data.readers.pets",
    "kitti": "harness.data.readers.kitti",
    "sun397": "harness.data.readers.sun397",
    "retinopathy": "harness.data.readers.retinopathy",
    "dmlab": "harness.data.readers.dmlab",
    "tfds": "harness.data.readers.tfds",
    "fgvc-json": "harness.data.readers.fgvc_json",
    "fgvc-official": "harness.data.readers.fgvc_official",
    "ade20k-folder": "harness.data.readers.ade20k",
    "arrays": "harness.data.readers.arrays",
    "sklearn-digits": "harness.data.readers.sklearn_digits",
}
"""By the name that a card uses, modules with `ARGUMENTS` (the keys of [reader] that they know),
`records(card, root, split)` and `check(card, root)`, for what no single split can show. Those that
a card may name among its `sources` have `present(card, root)`, whether their files are there at
all; those that compute VTAB's splits have `keys(card, root, source)`, the keys of a split of their
source, in any order; and where labels follow from keys, `labels_of(card, keys)`."""


def resolve(card: TaskCard, root: Path | None, pixels: str | None = None) -> TaskCard:
    """The card with one reader: prepared data, else as `originals`.

    `pixels` replaces what card and reader say. Raises `BadInput` for pixels that don't exist, or
    aren't for this kind of task.
    """
    if pixels is not None and pixels not in ("tf", "pil", "vpt"):
        raise unknown("pixels", pixels, ("tf", "pil", "vpt"))
    if pixels is not None and card.kind == "segmentation":
        raise BadInput(
            f"task {card.name}: --pixels is for classification, and this is segmentation: leave it"
            " out."
        )
    if root is not None and prepared.present(card, root):
        chosen = prepared.reader(card, root)
    else:
        chosen = originals(card, root).reader
    return card.model_copy(
        update={"reader": chosen, "sources": (), "pixels": pixels or chosen.pixels or card.pixels}
    )


def originals(card: TaskCard, root: Path | None) -> TaskCard:
    """The card with one reader: of its `sources`, then its `reader`, the first whose files are
    there; its `reader` where none is."""
    chosen = next(
        (reader for reader in card.sources if is_present(card, reader, root)), card.reader
    )
    return card.model_copy(
        update={"reader": chosen, "sources": (), "pixels": chosen.pixels or card.pixels}
    )


def is_present(card: TaskCard, reader: Reader, root: Path | None) -> bool:
    """Whether the files that one of a card's readers needs are there at all."""
    alone = card.model_copy(update={"reader": reader, "sources": ()})
    return reader.format in FORMATS and getattr(module_of(alone), "present", lambda *_: True)(
        alone, root
    )


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    """The records of one split, in order; touches no other split. Raises `BadInput` for data that
    is missing, short or wrong."""
    module = module_of(card)
    try:
        found = module.records(card, root, split)
    except (OSError, RecursionError, MemoryError) as error:
        # what no reader foresaw: a folder in place of a file, a list within lists ...
        said = plain(
            " ".join(str(part) for part in (error.strerror, error.filename) if part)
            if isinstance(error, OSError)
            else ""
        )
        raise BadInput(
            f"task {card.name}: {split} can't be read ({said[:200] or type(error).__name__}). Get a"
            " whole copy."
        ) from error
    if len(found) != card.sizes.get(split, 0):
        raise BadInput(
            f"task {card.name}: {split} has {len(found)} records, expected"
            f" {card.sizes.get(split, 0)}. Get a whole copy."
        )
    for record in found:
        if not 0 <= record.label < card.classes:
            raise BadInput(
                f"task {card.name}: {split} record {record.key} has label {record.label}, expected"
                f" 0 to {card.classes - 1}."
            )
        if (record.mask is None) != (card.kind == "classification"):
            has = "no masks" if record.mask is None else "masks"
            raise BadInput(
                f"task {card.name}: reader '{card.reader.format}' gives {has}, and its card says"
                f" {card.kind}: mend the card."
            )
    return found


def check(card: TaskCard, root: Path | None) -> None:
    """Reads the lists and labels of all splits, decodes no image. Raises `BadInput`: which task,
    what was expected, what was found."""
    reader = module_of(card)
    for split in SPLITS:
        if split in card.sizes:
            records(card, root, split)
    reader.check(card, root)


def module_of(card: TaskCard) -> ModuleType:
    """The module of the card's reader. Raises `BadInput` for a format or an argument that this
    version lacks."""
    name = card.reader.format
    if name not in FORMATS:
        known = f"(it has {', '.join(FORMATS)}).{nearest(name, FORMATS)} {card.howto}"
        raise BadInput(f"task {card.name}: reader '{name}' is not in this version {known.strip()}")
    module = import_module(FORMATS[name])
    for key in card.reader.arguments:
        if key not in module.ARGUMENTS:
            raise BadInput(
                f"card {card.path}: reader.{key}: unknown key for format"
                f" '{name}'.{nearest(key, module.ARGUMENTS)}"
            )
    return module
