"""Archives into folders: every path stays inside, every file is whole or not there."""

import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from harness.errors import BadInput

DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)
"""What Python's modules raise for an archive that isn't one."""


def is_packed(path: Path) -> bool:
    """Whether its name says that there is something to extract."""
    return path.name.endswith((".zip", ".tar", ".tgz", ".gz"))


def unpack(path: Path, folder: Path) -> None:
    """Extracts a zip or tar, or a single `.gz`, into `folder`.

    Raises `BadInput` for an archive that is damaged, or that has an entry outside of its folder; then nothing of it is in `folder`.
    """
    new = folder / f"{path.name}.unpacking"
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        _extract(path, new)
        _move(new, folder)
    except (tarfile.FilterError, _Outside) as error:
        raise BadInput(
            f"{path} has an entry that leaves its folder ({error}): nothing was extracted. Delete it; don't trust its source."
        ) from error
    except DAMAGED as error:
        raise BadInput(f"{path} is damaged or cut short ({error}). Delete it, and get it again.") from error
    except OSError as error:
        raise BadInput(f"can't extract {path} into {folder} ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


class _Outside(Exception):
    """An entry's name."""


def _extract(path: Path, new: Path) -> None:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                _refuse_outside(entry)
            archive.extractall(new)
    elif path.name.endswith((".tar", ".tgz", ".tar.gz")):
        with tarfile.open(path) as archive:
            archive.extractall(new, filter="data")
    else:
        with gzip.open(path) as packed, (new / path.stem).open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)


def _refuse_outside(entry: zipfile.ZipInfo) -> None:
    """`zipfile` would mend such names silently, and write a link as a file: both say that something is wrong."""
    name = PurePosixPath(entry.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or ":" in entry.filename or stat.S_ISLNK(entry.external_attr >> 16):
        raise _Outside(entry.filename)


def _move(new: Path, folder: Path) -> None:
    """File by file, into folders that may be there."""
    for place, _, names in os.walk(new):
        target = folder / Path(place).relative_to(new)
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            os.replace(Path(place) / name, target / name)
