"""Extracts archives: every path stays inside the folder, every file is complete or absent."""

import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from harness.errors import BadInput
from harness.io.limits import Room, TooLarge
from harness.text import plain

DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
)
"""What Python's modules raise for an invalid archive."""

LONGEST_HEADER = 1 << 20
"""Bytes that a tar may use for a name and the like: `tarfile` reads them at once, however many its
header claims."""


def is_packed(path: Path) -> bool:
    """Whether its name says that there is something to extract."""
    return path.name.endswith((".zip", ".tar", ".tgz", ".gz"))


def unpack(path: Path, folder: Path) -> None:
    """Extracts a zip or tar, or a single `.gz`, into `folder`.

    Raises `BadInput` for an archive that is damaged, has an entry outside its folder or a link, or
    would become far too large; then `folder` is unchanged.
    """
    new = folder / f"{path.name}.unpacking"
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        _extract(path, new)
        _move(new, folder)
    except (tarfile.FilterError, _Outside) as error:
        entry = plain(str(error))[:100]
        raise BadInput(
            f"{path} has an entry outside its folder ({entry}): nothing was extracted. Delete"
            " it; don't trust its source."
        ) from error
    except TooLarge as error:
        raise BadInput(
            f"{path} was not extracted: {error}. Free some space; or delete it, and don't trust"
            " its source."
        ) from error
    except DAMAGED as error:
        raise BadInput(
            f"{path} is damaged or truncated ({' '.join(str(error).split())[:160]}). Delete it, and"
            " download it again."
        ) from error
    except OSError as error:
        raise BadInput(
            f"can't extract {path} into {folder} ({error.strerror or error})."
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


class _Outside(Exception):
    """An entry's name."""


def _extract(path: Path, new: Path) -> None:
    room = Room(path, new)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                _refuse_outside(entry)
                room.take(entry.file_size)  # no more of it is read
            archive.extractall(new)
    elif path.name.endswith((".tar", ".tgz", ".tar.gz")):
        with (
            _LimitedReads(path.open("rb") if path.suffix == ".tar" else gzip.open(path)) as file,
            tarfile.open(fileobj=file, mode="r:") as archive,  # type: ignore[arg-type]
        ):
            archive.extractall(str(new), filter=lambda entry, place: _kept(entry, place, room))
    else:
        with gzip.open(path) as packed, (new / path.stem).open("wb") as file:
            while chunk := packed.read(1 << 20):
                room.take(len(chunk))
                file.write(chunk)


def _refuse_outside(entry: zipfile.ZipInfo) -> None:
    """`zipfile` would silently fix such names, and write a link as a file: both mean that something
    is wrong."""
    name = PurePosixPath(entry.filename.replace("\\", "/"))
    if (
        not name.parts
        or name.is_absolute()
        or ".." in name.parts
        or ":" in entry.filename
        or stat.S_ISLNK(entry.external_attr >> 16)
    ):
        raise _Outside(entry.filename)


def _kept(entry: tarfile.TarInfo, place: str, room: Room) -> tarfile.TarInfo | None:
    """Files and folders only: no task's archive has links, and chains of them have escaped
    `data_filter`."""
    name = PurePosixPath(entry.name)
    if not (entry.isfile() or entry.isdir()) or name.is_absolute() or ".." in name.parts:
        raise _Outside(entry.name)
    room.take(max(entry.size, tarfile.BLOCKSIZE) if entry.size >= 0 else entry.size)
    return tarfile.data_filter(entry, place)


class _LimitedReads(io.RawIOBase):
    """A file that is read in small amounts: `tarfile` trusts the sizes in headers, even negative
    ones and gigabytes."""

    def __init__(self, file: io.BufferedIOBase):
        self.file = file
        self.seek, self.tell = file.seek, file.tell  # type: ignore[method-assign]

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LONGEST_HEADER:
            raise tarfile.ReadError("a header is too large")
        return self.file.read(size)

    def close(self) -> None:
        self.file.close()
        super().close()


def _move(new: Path, folder: Path) -> None:
    """File by file, into folders that may exist."""
    for place, _, names in os.walk(new):
        target = folder / Path(place).relative_to(new)
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            os.replace(Path(place) / name, target / name)
