"""FGVC as VPT's authors split it: `{train,val,test}.json`, each `{"relative/path.jpg": class id}`,
next to the original images.

Ids are renumbered from 0 by their order over all three lists, as integers where they are integers.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from harness.data.readers.files import image_opener, in_order
from harness.data.readers.lists import name_of, refuse_repeats
from harness.data.readers.reader import TaskReader
from harness.data.readers.record import Record
from harness.tasks.cards import SPLITS, SplitName
from harness.text import visible


class FGVCJson(TaskReader):
    format = "fgvc-json"
    arguments = ("alpha", "folder", "images")

    def present(self) -> bool:
        return self.root is not None and any(
            (self._folder() / f"{split}.json").is_file() for split in SPLITS
        )

    def records(self, split: SplitName) -> Sequence[Record]:
        """In the list's own order."""
        labels = {of_class: label for label, of_class in enumerate(self.classes())}
        images = self._folder() / self.argument("images", str)
        return self.images(
            [
                (path, labels[of_class], images / path)
                for path, of_class in self._list(split).items()
            ],
            image_opener(self.card),
        )

    def check(self) -> None:
        """No image is in two lists, and the lists have as many classes as the card."""
        seen: dict[str, str] = {}
        for split in SPLITS:
            for path in self._list(split):
                if path in seen:
                    raise self.error(
                        f"{path} is in {seen[path]}.json and in {split}.json. Download"
                        " VPT's lists again."
                    )
                seen[path] = split
        count = len(self.classes())
        if count != self.card.classes:
            raise self.error(
                f"the lists have {count} classes, expected {self.card.classes}. Download VPT's"
                " lists again."
            )

    def classes(self) -> list[str]:
        """The ids of all three lists as text, in order."""
        return in_order(of_class for split in SPLITS for of_class in self._list(split).values())

    def _folder(self) -> Path:
        name = self.argument("folder", str)
        return self.root / name if self.root is not None else Path(name)

    def _list(self, split: SplitName) -> dict[str, str]:
        """Classes by path. Raises `BadInput`."""
        return self.once(split, lambda: self._read(split))

    def _read(self, split: SplitName) -> dict[str, str]:
        path = self.need(f"{self.argument('folder', str)}/{split}.json")
        try:
            # whatever the file's encoding is, and with or without a byte order mark
            pairs = json.loads(path.read_bytes(), object_pairs_hook=list)
            listed = [(name_of(str(name)), str(of_class)) for name, of_class in pairs]
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise self.error(
                f"{path} is damaged, or not an object of paths and classes. Download VPT's lists"
                " again."
            ) from error
        for name, of_class in listed:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise self.error(
                    f"{path} names {name[:60]!r}, which is outside the folder of images."
                )
            if re.fullmatch(r"[\w.-]{1,60}", of_class) is None:
                raise self.error(
                    f"{path} has {of_class[:40]!r} for the class of {visible(name)},"
                    " expected a number or a name."
                )
        refuse_repeats(self.card, path, (name for name, _ in listed))
        if len(listed) != self.card.sizes.get(split, 0):
            expected = self.card.sizes.get(split, 0)
            raise self.error(
                f"{split} has {len(listed)} records, expected {expected} ({path}). Download"
                " VPT's lists again."
            )
        return dict(listed)
