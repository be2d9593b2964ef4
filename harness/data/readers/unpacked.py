"""Compressed files that can't be read row by row: unpacked once, into the cache."""

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BufferedIOBase
from pathlib import Path

from harness.data.readers.files import stamp
from harness.errors import BadInput
from harness.io.atomic import making, replacing
from harness.io.limits import Room, TooLarge
from harness.io.resources import cache_dir


def unpacked(task: str, path: Path, ending: str, opened: Callable[[Path], BufferedIOBase]) -> Path:
    """The file in the cache with what `opened` reads from `path`. Raises `BadInput`, and `KeyError`
    if `opened` does."""
    target = cache_dir() / "unpacked" / f"{path.stem}-{stamp(path).replace('/', '-')}{ending}"
    with making(target):
        if not target.is_file():
            with replacing(target) as file:
                for chunk in _chunks(task, path, target.parent, opened):
                    file.write(chunk)
    return target


def _chunks(
    task: str, path: Path, into: Path, opened: Callable[[Path], BufferedIOBase]
) -> Iterator[bytes]:
    room = Room(path, into)
    try:
        with opened(path) as packed:
            while chunk := packed.read(1 << 22):
                room.take(len(chunk))
                yield chunk
    except TooLarge as error:
        raise BadInput(
            f"task {task}: {path} was not unpacked: {error}. Free some space; or download it again"
            " from its owner."
        ) from error
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise BadInput(
            f"task {task}: {path} is damaged or truncated. Download it again."
        ) from error
