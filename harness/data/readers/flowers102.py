"""Oxford Flowers 102: `imagelabels.mat` (labels, from 1), `setid.mat` (trnid, valid, tstid) and
`jpg/image_00001.jpg`."""

from collections.abc import Sequence

import numpy as np

from harness.data.readers import matlab
from harness.data.readers.files import stamp
from harness.data.readers.lists import checked_names
from harness.data.readers.reader import SlicedReader
from harness.data.readers.record import Record
from harness.tasks.cards import SplitName

FIELDS = {"train": "trnid", "validation": "valid", "test": "tstid"}


class Flowers102(SlicedReader[str]):
    format = "flowers102"
    arguments = ("counts",)

    def present(self) -> bool:
        return (
            self.find(*_names("setid.mat")) is not None
            and self.find(*_names("imagelabels.mat")) is not None
        )

    def keys(self, source: str) -> Sequence[str]:
        """Names of image files."""
        names = [f"image_{number:05}.jpg" for number in self._column("setid.mat", FIELDS[source])]
        return checked_names(self.card, self.need(*_names("setid.mat")), source, names)

    def records(self, split: SplitName) -> Sequence[Record]:
        labels = self._column("imagelabels.mat", "labels")
        folder = self.need(*_names("setid.mat")).parent / "jpg"
        chosen = [(key, int(key[6:11])) for key in self.selected(split)]
        if any(not 0 < number <= len(labels) for _, number in chosen):
            raise self.error(
                f"imagelabels.mat has {len(labels)} labels, too few for setid.mat. Download both"
                " again."
            )
        return self.images(
            [(key, int(labels[number - 1]) - 1, folder / key) for key, number in chosen]
        )

    def _column(self, name: str, field: str) -> np.ndarray:
        path = self.need(*_names(name))
        fields = tuple(FIELDS.values()) if name == "setid.mat" else (field,)
        column = matlab.read(self.card.name, path, fields, stamp(path)).numbers(field)
        return column.reshape(-1).astype(np.int64)


def _names(name: str) -> tuple[str, str]:
    return name, f"flowers-102/{name}"
