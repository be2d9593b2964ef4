"""The base of all readers of data on disk: one class per format, one object per task and data
root."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from PIL.Image import Image

from harness.data.images import rgb
from harness.data.readers.files import find, image_records, need
from harness.data.readers.lists import Lists
from harness.data.readers.record import Record
from harness.data.splits import Key, select
from harness.errors import BadInput
from harness.tasks.cards import SPLITS, SplitName, TaskCard
from harness.text import plain

T = TypeVar("T")


class TaskReader(ABC):
    """Reads one task's records from files of one format.

    It keeps the lists that it has read, so that an object reads them only once; create another if
    files may have changed. Pixels aren't kept, and nothing is decoded until it is needed.
    """

    format: ClassVar[str]
    """Its name in a card's [reader]."""
    arguments: ClassVar[tuple[str, ...]] = ()
    """The keys of a card's [reader] that it accepts."""

    def __init__(self, card: TaskCard, root: Path | None):
        self.card, self.root = card, root
        self.lists = Lists(card)
        self._kept: dict[Hashable, Any] = {}

    def present(self) -> bool:
        """Whether its files are present; the first of a card's `sources` that is gets read."""
        return True

    @abstractmethod
    def records(self, split: SplitName) -> Sequence[Record]:
        """The records of one split, in order; touches no other split. Raises `BadInput`, or
        `OSError`."""

    def check(self) -> None:  # noqa: B027  (most formats have nothing to add)
        """Raises `BadInput` for faults that no single split reveals."""

    def labels(self, split: SplitName) -> list[int] | None:
        """The labels of a split if they follow from its keys, without any data; else None."""
        return None

    def read(self, split: SplitName) -> Sequence[Record]:
        """`records`, checked against the card. Raises `BadInput` for data that are missing,
        incomplete or wrong."""
        try:
            rows = self.records(split)
        except (OSError, RecursionError, MemoryError) as error:
            # what no reader anticipates: a folder in place of a file, deeply nested lists ...
            reason = plain(
                " ".join(str(part) for part in (error.strerror, error.filename) if part)
                if isinstance(error, OSError)
                else ""
            )
            raise self.error(
                f"{split} can't be read ({reason[:200] or type(error).__name__}). Get a complete"
                " copy."
            ) from error
        if len(rows) != self.card.sizes.get(split, 0):
            raise self.error(
                f"{split} has {len(rows)} records, expected {self.card.sizes.get(split, 0)}. Get a"
                " complete copy."
            )
        for record in rows:
            if not 0 <= record.label < self.card.labels:
                raise self.error(
                    f"{split} record {record.key} has label {record.label}, expected 0 to"
                    f" {self.card.labels - 1}."
                )
            if (record.mask is not None) != self.card.masked:
                has = "no masks" if record.mask is None else "masks"
                raise self.error(
                    f"reader '{self.format}' has {has}, but its card says {self.card.kind}: fix"
                    " the card."
                )
        return rows

    def check_all(self) -> None:
        """Reads the lists and labels of all splits, without decoding images. Raises `BadInput` that
        names the task, what was expected, and what was found."""
        for split in SPLITS:
            if split in self.card.sizes:
                self.read(split)
        self.check()

    def error(self, message: str) -> BadInput:
        """An error that names the task."""
        return BadInput(f"task {self.card.name}: {message}")

    def argument(self, name: str, kind: type[T]) -> T:
        """An argument of the card's [reader]. Raises `BadInput` if it is missing, or of another
        type."""
        return self.card.reader.argument(name, self.card.name, kind)

    def find(self, *names: str) -> Path | None:
        """The first of these relative paths that exists, under `<root>/<task>`, then under
        `<root>`; None if there is none."""
        return find(self.card, self.root, *names)

    def need(self, *names: str) -> Path:
        """As `find`. Raises `BadInput` that says what is missing, where it was expected, and how to
        get it."""
        return need(self.card, self.root, *names)

    def images(
        self, files: Sequence[tuple[str, int, Path]], opened: Callable[[Path], Image] = rgb
    ) -> list[Record]:
        """Records of image files: (key, label, path). Raises `BadInput` if one is missing."""
        return image_records(self.card, files, opened)

    def once(self, name: Hashable, read: Callable[[], T]) -> T:
        """What `read` returns, kept under this name."""
        if name not in self._kept:
            self._kept[name] = read()
        return self._kept[name]


class SlicedReader(TaskReader, Generic[Key]):
    """Reads a source that VTAB-1k takes slices of, in an order that follows from its records'
    names.

    `keys` needs no images, and often no files.
    """

    @abstractmethod
    def keys(self, source: str) -> Sequence[Key]:
        """All keys of a split of the source, in any order. Raises `BadInput`."""

    def count(self, source: str) -> int:
        """The number of records in a split of the source, by the card's `counts`. Raises
        `BadInput`."""
        return self.argument("counts", dict)[source]

    def selected(self, split: SplitName) -> list[Key]:
        """The keys of one of our splits, in order. Raises `BadInput`."""
        return select(self.card, split, self.keys)


class RowReader(SlicedReader[int]):
    """Reads a source whose records have no names: their keys are row numbers."""

    def keys(self, source: str) -> Sequence[int]:
        return range(self.count(source))

    def check_rows(self, path: Path, rows: int, source: str) -> None:
        """Raises `BadInput` for a file that doesn't have as many rows as the source."""
        if rows != self.count(source):
            raise self.error(
                f"{path} has {rows} rows, expected {self.count(source)}. Download it again."
            )
