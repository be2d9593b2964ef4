"""DMLab as VTAB published it: TFRecord shards of tf.Example with `image` (encoded), `filename` (the
key) and `label`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from harness.data.readers import examples
from harness.data.readers.lists import whole
from harness.data.readers.record import Record
from harness.data.readers.tfrecord import Values
from harness.data.splits import parse, select
from harness.errors import BadInput
from harness.tasks.cards import SplitName, TaskCard

ARGUMENTS = ("counts",)


def present(card: TaskCard, root: Path | None) -> bool:
    return bool(_paths(card, root, "train"))


def keys(card: TaskCard, root: Path | None, source: str) -> Sequence[str]:
    """The records' `filename`."""
    shards = _shards(card, root, source)
    return whole(
        card, shards.paths[0].parent, source, [row.key for row in examples.rows(shards, _Named())]
    )


def records(card: TaskCard, root: Path | None, split: SplitName) -> Sequence[Record]:
    source, _, _ = parse(card.slices[split])
    shards = _shards(card, root, source)
    rows = {row.key: row for row in examples.rows(shards, _Named())}
    return examples.records(
        shards, [rows[key] for key in select(card, split, partial(keys, card, root))]
    )


def check(card: TaskCard, root: Path | None) -> None:
    """Nothing beyond what each split shows."""


class _Named(NamedTuple):
    """An `examples.Describe`."""

    def __call__(self, features: dict[str, Values], place: int) -> tuple[str, int]:
        return examples.text(features["filename"][0]), int(features["label"][0])


def _paths(card: TaskCard, root: Path | None, source: str) -> list[Path]:
    """`dmlab-train.tfrecord-00000-of-00010` and the like, anywhere below `<root>/dmlab`, or in
    `<root>`."""
    for folder, pattern in (
        ((root / card.name, "**/*"), (root, "*dmlab*")) if root is not None else ()
    ):
        found = (
            sorted(path for path in folder.glob(f"{pattern}{source}*tfrecord*") if path.is_file())
            if folder.is_dir()
            else []
        )
        if found:
            return found
    return []


def _shards(card: TaskCard, root: Path | None, source: str) -> examples.Shards:
    paths = _paths(card, root, source)
    if not paths:
        raise BadInput(
            f"task {card.name}: no TFRecord files of {source} under {root}. To get them:"
            f" {card.howto.rstrip('.')}."
        )
    return examples.Shards(card.name, tuple(paths))
