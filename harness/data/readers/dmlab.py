"""DMLab as VTAB published it: TFRecord shards of tf.Example with `image` (encoded), `filename` (the
key) and `label`."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness.data.readers import examples
from harness.data.readers.lists import checked_names
from harness.data.readers.reader import SlicedReader
from harness.data.readers.record import Record
from harness.data.readers.tfrecord import Values
from harness.data.splits import parse
from harness.tasks.cards import SplitName


class DMLab(SlicedReader[str]):
    format = "dmlab"
    arguments = ("counts",)

    def present(self) -> bool:
        return bool(self._paths("train"))

    def keys(self, source: str) -> Sequence[str]:
        """The records' `filename`."""
        shards = self._shards(source)
        return checked_names(
            self.card,
            shards.paths[0].parent,
            source,
            [row.key for row in examples.rows(shards, _Named())],
        )

    def records(self, split: SplitName) -> Sequence[Record]:
        source, _, _ = parse(self.card.slices[split])
        shards = self._shards(source)
        rows = {row.key: row for row in examples.rows(shards, _Named())}
        return examples.records(shards, [rows[key] for key in self.selected(split)])

    def _paths(self, source: str) -> list[Path]:
        """`dmlab-train.tfrecord-00000-of-00010` and the like, anywhere below `<root>/dmlab`, or in
        `<root>`."""
        for folder, pattern in (
            ((self.root / self.card.name, "**/*"), (self.root, "*dmlab*"))
            if self.root is not None
            else ()
        ):
            paths = (
                sorted(
                    path for path in folder.glob(f"{pattern}{source}*tfrecord*") if path.is_file()
                )
                if folder.is_dir()
                else []
            )
            if paths:
                return paths
        return []

    def _shards(self, source: str) -> examples.Shards:
        paths = self._paths(source)
        if not paths:
            raise self.error(
                f"no TFRecord files for {source} under {self.root}. To get them:"
                f" {self.card.howto.rstrip('.')}."
            )
        return examples.Shards(self.card.name, tuple(paths))


class _Named(NamedTuple):
    """An `examples.Describe`."""

    def __call__(self, features: dict[str, Values], place: int) -> tuple[str, int]:
        return examples.text(features["filename"][0]), int(features["label"][0])
