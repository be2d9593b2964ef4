"""Lists of images as people's editors save them: the one place that reads text files of data sets.

Read as what is clearly meant: a byte order mark, lines ended by CR, LF or both, blank lines, spaces
at a line's ends, file names composed (NFC, as Linux and Windows write them) or decomposed (NFD, as
macOS does), and backslashes between folders. Anything else is refused in a line that shows what
can't be seen: `'a\\xa0b'`.
"""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from harness.data.readers.files import composed
from harness.errors import BadInput
from harness.tasks.cards import TaskCard
from harness.text import visible

UTF16_OR_32 = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
MARK = "\ufeff"
"""The byte order mark. At a line's beginning where lists were put behind one another."""


class Lists:
    """A task's lists, each read once however often it is asked for."""

    def __init__(self, card: TaskCard):
        self.card = card
        self._read: dict[Path, Sequence[tuple[int, str]]] = {}
        self._digests: dict[Path, str] = {}
        """sha256 of their bytes."""

    def numbered(self, path: Path) -> Sequence[tuple[int, str]]:
        """The lines that aren't blank, without the spaces at their ends, each with its number in
        the file, from 1. Raises `BadInput`."""
        if path not in self._read:
            content = _content(self.card.name, path)
            self._digests[path] = hashlib.sha256(content).hexdigest()
            self._read[path] = _numbered(self.card.name, path, content)
        return self._read[path]

    def lines(self, path: Path) -> list[str]:
        """As `numbered`, without the numbers."""
        return [line for _, line in self.numbered(path)]

    def names(self, path: Path) -> list[str]:
        """As `lines`, where each is a file's name."""
        return [name_of(line) for line in self.lines(path)]

    def table(self, path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
        """These columns of a CSV file with a header, in the order given. Raises `BadInput`."""
        lines = self.lines(path)
        try:
            rows = csv.reader(io.StringIO("\n".join(lines)), strict=True)
            header = [name.strip() for name in next(rows, [])]
            missing = [name for name in columns if name not in header]
            if missing:
                first = "".join(lines[:1])[:60]
                raise BadInput(
                    f"task {self.card.name}: {path} lacks the columns"
                    f" {', '.join(missing)}: its first line is {first!a}. Get it again."
                )
            places = [header.index(name) for name in columns]
            return [tuple(row[place].strip() for place in places) for row in rows]
        except (csv.Error, IndexError) as error:
            raise BadInput(
                f"task {self.card.name}: {path} is damaged: a line has too few columns, or an"
                " open quote. Get it again."
            ) from error

    def as_published(self, path: Path) -> None:
        """Raises `BadInput` for a list that isn't the one whose sha256 the card has, as saved by
        whatever editor."""
        for archive in self.card.archives:
            if archive.name != path.name or archive.sha256 is None:
                continue
            text = "".join(f"{line}\n" for line in self.names(path))
            digest = hashlib.sha256(text.encode()).hexdigest()
            if archive.sha256 not in (digest, self._digests[path]):
                raise BadInput(
                    f"task {self.card.name}: {path} is not the list that its owner published: its"
                    f" lines have sha256 {digest[:16]}, expected {archive.sha256[:16]}. Delete it,"
                    f" and fetch the task again or get it from {archive.url}."
                )


def name_of(text: str) -> str:
    """A file's name as records are called by it: folders parted by `/`, letters composed."""
    return composed(text.replace("\\", "/"))


def refuse_doubles(card: TaskCard, path: Path, names: Iterable[str]) -> None:
    """Raises `BadInput` for a list that names one thing twice."""
    before: set[str] = set()
    for name in names:
        if name in before:
            raise BadInput(f"task {card.name}: {path} names {visible(name)} twice. Get it again.")
        before.add(name)


def whole(card: TaskCard, path: Path, source: str, names: Sequence[str]) -> Sequence[str]:
    """`names`, which `path` gives for a split of the source: as many as the card counts there, and
    none twice. Raises `BadInput`.

    VTAB's slices are those of the whole list: with a row less, all records behind it in their order
    are others.
    """
    refuse_doubles(card, path, names)
    expect(card, path, source, len(names))
    return names


def expect(card: TaskCard, path: Path, source: str, found: int) -> None:
    """Raises `BadInput` where `path` has another number of records of a split of the source than
    the card counts."""
    expected = card.reader.arguments.get("counts", {}).get(source)
    if expected is not None and found != expected:
        raise BadInput(
            f"task {card.name}: {path} has {found:,} records of {source}, expected {expected:,}:"
            " with any other number, the splits are made of other records. Get it again."
        )


def inside(card: TaskCard, folder: Path, name: str) -> Path:
    """The file that a list names, below `folder`. Raises `BadInput` for a name that leads
    elsewhere."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise BadInput(
            f"task {card.name}: a list names {name[:60]!r}, which is outside of {folder}. Don't"
            " trust its source."
        )
    return folder / name


def _numbered(task: str, path: Path, content: bytes) -> Sequence[tuple[int, str]]:
    lines = re.split("\r\n|\r|\n", _text(task, path, content))
    stripped = ((number, line.lstrip(MARK).strip()) for number, line in enumerate(lines, 1))
    return tuple((number, line) for number, line in stripped if line)


def _content(task: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise BadInput(f"task {task}: {path} is missing. Get a whole copy.") from error
    except OSError as error:
        raise BadInput(
            f"task {task}: {path} can't be read ({error.strerror}). Get it again."
        ) from error


def _text(task: str, path: Path, content: bytes) -> str:
    if content.startswith(UTF16_OR_32):
        raise BadInput(
            f"task {task}: {path} is no text in UTF-8, but in UTF-16 or UTF-32. Save it as UTF-8."
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wrong = str(content.split(b"\n")[line - 1][:60])[1:]
        raise BadInput(
            f"task {task}: {path} is no text in UTF-8: line {line} is {wrong}. Save it as UTF-8, or"
            " get it again."
        ) from error
    # which some programs end lines with, and others take for letters
    if odd := re.search("[\x85\u2028\u2029]", text):
        raise BadInput(f"task {task}: {path} has the line end {odd[0]!a}. Save it with line feeds.")
    if "\0" in text:
        raise BadInput(
            f"task {task}: {path} is no text: it has NUL characters. Save it as UTF-8, or get it"
            " again."
        )
    return text
