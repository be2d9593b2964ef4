"""Oxford-IIIT Pet: `annotations/{trainval,test}.txt` with lines `Abyssinian_100 1 1 1` (name, class
from 1, ...), `images/`."""

from collections.abc import Sequence
from functools import partial

from harness.data.images import rgb
from harness.data.readers.lists import checked_names, inside, name_of
from harness.data.readers.reader import SlicedReader
from harness.data.readers.record import Record
from harness.data.splits import parse
from harness.tasks.cards import SplitName

LISTS = {"train": "trainval", "test": "test"}


class Pets(SlicedReader[str]):
    format = "pets"
    arguments = ("counts",)

    def present(self) -> bool:
        return self.find(*_names("train")) is not None

    def keys(self, source: str) -> Sequence[str]:
        """Names of image files."""
        return list(self._labels(source))

    def records(self, split: SplitName) -> Sequence[Record]:
        source, _, _ = parse(self.card.slices[split])
        labels = self._labels(source)
        images = self.need(*_names(source)).parent.parent / "images"
        files = [(key, labels[key], inside(self.card, images, key)) for key in self.selected(split)]
        # as TensorFlow decodes: a few are RGBA
        return self.images(files, partial(rgb, alpha="dropped"))

    def _labels(self, source: str) -> dict[str, int]:
        return self.once(source, lambda: self._read(source))

    def _read(self, source: str) -> dict[str, int]:
        path = self.need(*_names(source))
        names, labels = [], []
        for line in self.lists.lines(path):
            if line.startswith("#"):
                continue
            parts = line.split()
            if len(parts) != 4 or not parts[1].isdecimal():
                raise self.error(
                    f"{path} has the line {line[:60]!r}, expected 'Abyssinian_100 1 1 1'."
                )
            names.append(name_of(f"{parts[0]}.jpg"))
            labels.append(int(parts[1]) - 1)
        return dict(zip(checked_names(self.card, path, source, names), labels, strict=True))


def _names(source: str) -> tuple[str, str]:
    return f"annotations/{LISTS[source]}.txt", f"oxford-iiit-pet/annotations/{LISTS[source]}.txt"
