"""DTD r1.0.1, partition 1: `dtd/labels/{train1,val1,test1}.txt` name images such as
`banded/banded_0002.jpg` in `dtd/images/`."""

from collections.abc import Sequence

from harness.data.readers.lists import checked_names, inside
from harness.data.readers.reader import SlicedReader
from harness.data.readers.record import Record
from harness.tasks.cards import SplitName

LISTS = {"train": "train1", "validation": "val1", "test": "test1"}


class DTD(SlicedReader[str]):
    format = "dtd"
    arguments = ("counts",)

    def present(self) -> bool:
        return self.find(*_names("train")) is not None

    def keys(self, source: str) -> Sequence[str]:
        """The lines of the list: a class's folder and a file."""
        return self.once(source, lambda: self._listed(source))

    def _listed(self, source: str) -> Sequence[str]:
        path = self.need(*_names(source))
        return checked_names(self.card, path, source, self.lists.names(path))

    def records(self, split: SplitName) -> Sequence[Record]:
        folder = self.need(*_names("train")).parent.parent / "images"
        classes = sorted({line.split("/")[0] for source in LISTS for line in self.keys(source)})
        labels = {name: label for label, name in enumerate(classes)}
        return self.images(
            [
                (key, labels[key.split("/")[0]], inside(self.card, folder, key))
                for key in self.selected(split)
            ],
        )


def _names(source: str) -> tuple[str, str]:
    return f"dtd/labels/{LISTS[source]}.txt", f"labels/{LISTS[source]}.txt"
