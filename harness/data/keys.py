"""The keys of a split's records, for `harness data keys`. Where keys, or labels too, follow from
counts or names, no data are needed."""

from pathlib import Path

from harness.data.readers import is_present, open_reader, records, resolve, with_reader
from harness.data.readers.reader import SlicedReader
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
    """The keys of a split in order, from the data under `root`, or computed from the card. Raises
    `BadInput`.

    If one of the task's formats computes its splits, only its lists are needed, no images.
    """
    if split not in NAMES:
        raise unknown("split", split, NAMES)
    resolved = resolve(card, root)
    if root is not None and (
        resolved.reader.format == "prepared" or is_present(resolved, resolved.reader, root)
    ):
        return _computed(resolved, root, split) or [
            record.key for name in NAMES[split] for record in records(resolved, root, name)
        ]
    first: BadInput | None = None
    for reader in (*card.sources, card.reader):
        try:
            if computed := _computed(with_reader(card, reader), root, split):
                return computed
        except BadInput as error:
            first = first or error
    if first is not None:
        raise first
    return [record.key for name in NAMES[split] for record in records(resolved, root, name)]


def _computed(card: TaskCard, root: Path | None, split: str) -> list[str]:
    """From the lists of the card's reader, or its counts; empty if it doesn't compute its
    splits."""
    reader = open_reader(card, root)
    if not isinstance(reader, SlicedReader):
        return []
    return [str(key) for name in NAMES[split] for key in reader.selected(name)]


def exact_labels(card: TaskCard) -> dict[SplitName, list[int]]:
    """The labels of the exact splits, for tasks whose labels follow from their keys; empty for
    others."""
    for form in (*card.sources, card.reader):
        reader = open_reader(with_reader(card, form), None)
        exact: dict[SplitName, list[int]] = {}
        for split in SPLITS:
            if split in card.sizes and (labels := reader.labels(split)) is not None:
                exact[split] = labels
        if exact:
            return exact
    return {}
