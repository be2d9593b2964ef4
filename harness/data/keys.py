"""The records of a split by name: `harness data keys`. Where keys, or labels too, follow from counts or names alone, without any data."""

from functools import partial
from pathlib import Path

from harness.cards import SPLITS, SplitName, TaskCard
from harness.data.readers import module_of, records, resolve
from harness.data.splits import select
from harness.errors import unknown

NAMES: dict[str, tuple[SplitName, ...]] = {
    "train800": ("train",),
    "val200": ("val",),
    "train800val200": ("train", "val"),
    **{split: (split,) for split in SPLITS},
}
"""What users call the splits: VTAB-1k's names, or the card's."""


def keys(card: TaskCard, root: Path | None, split: str) -> list[str]:
    """The keys of a split in order, of the data under `root`, or computed from what the card says. Raises `BadInput`."""
    if split not in NAMES:
        raise unknown("split", split, NAMES)
    for reader in (*card.sources, card.reader) if root is None else ():
        alone = card.model_copy(update={"reader": reader, "sources": ()})
        all_keys = getattr(module_of(alone), "keys", None)
        if all_keys is not None:
            of_source = partial(all_keys, alone, None)
            return [str(key) for name in NAMES[split] for key in select(alone, name, of_source)]
    found = resolve(card, root)
    return [record.key for name in NAMES[split] for record in records(found, root, name)]


def exact_labels(card: TaskCard) -> dict[SplitName, list[int]]:
    """The labels of the exact splits, for tasks whose labels follow from their keys; empty for others."""
    for reader in (*card.sources, card.reader):
        alone = card.model_copy(update={"reader": reader, "sources": ()})
        module = module_of(alone)
        if hasattr(module, "labels_of"):
            of_source = partial(module.keys, alone, None)
            return {split: module.labels_of(alone, select(alone, split, of_source)) for split in SPLITS if split in card.sizes}
    return {}
