"""The records of a split by name: `harness data keys`. Where keys, or labels too, follow from
counts or names alone, without any data."""

from functools import partial
from pathlib import Path

from harness.data.readers import is_present, module_of, records, resolve
from harness.data.splits import select
from harness.errors import BadInput, unknown
from harness.tasks.cards import SPLITS, SplitName, TaskCard

NAMES: dict[str, tuple[SplitName, ...]] = {
    "train800": ("train",),
    "val200": ("val",),
    "train800val200": ("train", "val"),
    **{split: (split,) for split in SPLITS},
}
"""What users call the splits: VTAB-1k's names, or the card's."""


def keys(card: TaskCard, root: Path | None, split: str) -> list[str]:
    """The keys of a split in order, of the data under `root`, or computed from what the card says.
    Raises `BadInput`.

    Where a form of the task computes its splits, its lists are all that is needed: no image.
    """
    if split not in NAMES:
        raise unknown("split", split, NAMES)
    found = resolve(card, root)
    if root is not None and (
        found.reader.format == "prepared" or is_present(found, found.reader, root)
    ):
        return _computed(found, root, split) or [
            record.key for name in NAMES[split] for record in records(found, root, name)
        ]
    first: BadInput | None = None
    for reader in (*card.sources, card.reader):
        try:
            if computed := _computed(
                card.model_copy(update={"reader": reader, "sources": ()}), root, split
            ):
                return computed
        except BadInput as error:
            first = first or error
    if first is not None:
        raise first
    return [record.key for name in NAMES[split] for record in records(found, root, name)]


def _computed(card: TaskCard, root: Path | None, split: str) -> list[str]:
    """From the lists of the card's reader, or its counts; empty where it doesn't compute its
    splits."""
    all_keys = getattr(module_of(card), "keys", None)
    if all_keys is None:
        return []
    of_source = partial(all_keys, card, root)
    return [str(key) for name in NAMES[split] for key in select(card, name, of_source)]


def exact_labels(card: TaskCard) -> dict[SplitName, list[int]]:
    """The labels of the exact splits, for tasks whose labels follow from their keys; empty for
    others."""
    for reader in (*card.sources, card.reader):
        alone = card.model_copy(update={"reader": reader, "sources": ()})
        module = module_of(alone)
        if hasattr(module, "labels_of"):
            of_source = partial(module.keys, alone, None)
            return {
                split: module.labels_of(alone, select(alone, split, of_source))
                for split in SPLITS
                if split in card.sizes
            }
    return {}
