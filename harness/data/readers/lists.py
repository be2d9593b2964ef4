"""Lists of images, whatever editor saved them: the one place that reads text files of data sets.

Accepted because they are unambiguous: a byte order mark, lines ended by CR, LF or both, blank
lines, spaces at a line's ends, file names composed (NFC, as Linux and Windows write them) or
decomposed (NFD, as macOS does), and backslashes between folders. Anything else is refused, with an
error that shows invisible characters: `'a\\xa0b'`.
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
"""The byte order mark. At the beginning of a line where lists were concatenated."""


class Lists:
    """A task's lists, each read only once."""

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
        """These columns of a CSV file with a header, in this order. Raises `BadInput`."""
        lines = self.lines(path)
        try:
            rows = csv.reader(io.StringIO("\n".join(lines)), strict=True)
            header = [name.strip() for name in next(rows, [])]
            missing = [name for name in columns if name not in header]
            if missing:
                first = "".join(lines[:1])[:60]
                raise BadInput(
                    f"task {self.card.name}: {path} lacks the columns"
                    f" {', '.join(missing)}: its first line is {first!a}. Download it again."
                )
            places = [header.index(name) for name in columns]
            return [tuple(row[place].strip() for place in places) for row in rows]
        except (csv.Error, IndexError) as error:
            raise BadInput(
                f"task {self.card.name}: {path} is damaged: a line has too few columns, or an"
                " open quote. Download it again."
            ) from error

    def as_published(self, path: Path) -> None:
        """Raises `BadInput` for a list whose sha256 isn't the card's, whatever editor saved it."""
        for archive in self.card.archives:
            if archive.name != path.name or archive.sha256 is None:
                continue
            text = "".join(f"{line}\n" for line in self.names(path))
            digest = hashlib.sha256(text.encode()).hexdigest()
            if archive.sha256 not in (digest, self._digests[path]):
                raise BadInput(
                    f"task {self.card.name}: {path} is not the list that its owner published: its"
                    f" lines have sha256 {digest[:16]}, expected {archive.sha256[:16]}. Delete it,"
                    f" and fetch the task again or download it from {archive.url}."
                )


def name_of(text: str) -> str:
    """A file's name as it is used in keys: folders separated by `/`, in Unicode's NFC."""
    return composed(text.replace("\\", "/"))


def refuse_repeats(card: TaskCard, path: Path, names: Iterable[str]) -> None:
    """Raises `BadInput` for a list that names one thing twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BadInput(
                f"task {card.name}: {path} names {visible(name)} twice. Download it again."
            )
        seen.add(name)


def checked_names(card: TaskCard, path: Path, source: str, names: Sequence[str]) -> Sequence[str]:
    """Returns `names`, which `path` lists for a split of the source, after checking that there are
    as many as the card says, without repeats. Raises `BadInput`.

    VTAB's slices are those of the complete list: if a row is missing, all later records change.
    """
    refuse_repeats(card, path, names)
    check_count(card, path, source, len(names))
    return names


def check_count(card: TaskCard, path: Path, source: str, count: int) -> None:
    """Raises `BadInput` if `path` doesn't have as many records of a split of the source as the card
    says."""
    expected = card.reader.arguments.get("counts", {}).get(source)
    if expected is not None and count != expected:
        raise BadInput(
            f"task {card.name}: {path} has {count:,} records of {source}, expected {expected:,}:"
            " with any other number, the splits would have other records. Download it again."
        )


def inside(card: TaskCard, folder: Path, name: str) -> Path:
    """The file that a list names, below `folder`. Raises `BadInput` for a name that leads
    elsewhere."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise BadInput(
            f"task {card.name}: a list names {name[:60]!r}, which is outside {folder}. Don't"
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
        raise BadInput(f"task {task}: {path} is missing. Get a complete copy.") from error
    except OSError as error:
        raise BadInput(
            f"task {task}: {path} can't be read ({error.strerror}). Download it again."
        ) from error


def _text(task: str, path: Path, content: bytes) -> str:
    if content.startswith(UTF16_OR_32):
        raise BadInput(f"task {task}: {path} is UTF-16 or UTF-32, not UTF-8. Save it as UTF-8.")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wrong = str(content.split(b"\n")[line - 1][:60])[1:]
        raise BadInput(
            f"task {task}: {path} isn't UTF-8 text: line {line} is {wrong}. Save it as UTF-8, or"
            " download it again."
        ) from error
    # line ends for some programs, letters for others
    if odd := re.search("[\x85\u2028\u2029]", text):
        raise BadInput(
            f"task {task}: {path} has the line ending {odd[0]!a}. Save it with line feeds."
        )
    if "\0" in text:
        raise BadInput(
            f"task {task}: {path} isn't text: it has NUL characters. Save it as UTF-8, or download"
            " it again."
        )
    return text
