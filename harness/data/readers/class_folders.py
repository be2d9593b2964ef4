"""EuroSAT and RESISC45: one folder per class, `Forest/Forest_687.jpg`; their keys are
`Forest_Forest_687.jpg` and follow from the counts."""

import re
from collections.abc import Sequence

from harness.data.readers.reader import SlicedReader
from harness.data.readers.record import Record
from harness.errors import BadInput
from harness.tasks.cards import SplitName

TEMPLATE = re.compile(r"([^{}]|\{class\}|\{number(:0\dd?)?\})*")
"""Syntax of the name; Python's own formatting could create one of any length."""


class ClassFolders(SlicedReader[str]):
    format = "class-folders"
    arguments = ("folders", "images", "name")

    def present(self) -> bool:
        return self.find(*self._places()) is not None

    def keys(self, source: str) -> Sequence[str]:
        """`Forest_Forest_687.jpg`: the class, and the file's name."""
        return list(self._files())

    def labels(self, split: SplitName) -> list[int]:
        """Classes are folders in alphabetical order."""
        of_class = {name: label for label, name in enumerate(sorted(self._images()))}
        files = self._files()
        return [of_class[files[key].split("/")[0]] for key in self.selected(split)]

    def records(self, split: SplitName) -> Sequence[Record]:
        folder = self.need(*self._places()).parent
        files = self._files()
        return self.images(
            [
                (key, label, folder / files[key])
                for key, label in zip(self.selected(split), self.labels(split), strict=True)
            ]
        )

    def check(self) -> None:
        """The card lists as many classes as it has."""
        if len(self._images()) != self.card.classes:
            raise BadInput(
                f"card {self.card.path}: reader.images has {len(self._images())} classes, expected"
                f" {self.card.classes}."
            )

    def _images(self) -> dict[str, int]:
        """How many images each class has."""
        return self.argument("images", dict)

    def _files(self) -> dict[str, str]:
        """Paths by key."""
        template = self.argument("name", str)
        if TEMPLATE.fullmatch(template) is None:
            raise self.error(
                f"name in its card's [reader] is {template[:60]!r}, expected e.g."
                " '{class}_{number:03}.jpg'."
            )
        names = (
            (of_class, template.format(number=number, **{"class": of_class}))
            for of_class, n in self._images().items()
            for number in range(1, n + 1)
        )
        return {f"{of_class}_{name}": f"{of_class}/{name}" for of_class, name in names}

    def _places(self) -> list[str]:
        """Where the first class's folder may be."""
        first = min(self._images())
        return [f"{folder}/{first}".removeprefix("./") for folder in self.argument("folders", list)]
