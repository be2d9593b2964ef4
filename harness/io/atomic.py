"""Files that are written by one process at a time, and are either complete or absent."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from harness.errors import BadInput
from harness.io.resources import cache_dir


@contextmanager
def making(path: Path) -> Iterator[None]:
    """Holds the lock of `path`: other processes that want to write it wait. Raises `BadInput` if
    the cache can't be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f"{path.name}.lock").open("wb")
    except OSError as error:
        raise unwritable(path, error) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def replacing(path: Path, sync: bool = True) -> Iterator[BinaryIO]:
    """A file that replaces `path` when the block succeeds. Only inside `making(path)`.

    Remains of a killed process are overwritten. A device or a pipe is written directly. `sync`: its
    bytes are on disk before its name is. Raises `BadInput` for an `OSError`.
    """
    if path.exists() and not path.is_file():
        try:
            with path.open("wb") as file:
                yield file
        except OSError as error:
            raise unwritable(path, error) from error
        return
    part = path.with_name(f"{path.name}.tmp")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise unwritable(path, error) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def placing(path: Path) -> Iterator[Path]:
    """A temporary path next to `path`; the file written there replaces `path` when the block
    succeeds. Several processes may do so at once: each has its own. `OSError`s propagate.
    """
    with temporary(path) as part:
        yield part
        synced(part)
        part.replace(path)


@contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """A path next to `path` that only this process uses: `NAME.PROCESS.tmp`. Removed at the end of
    the block, if it still exists."""
    part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield part
    finally:
        with suppress(OSError):
            part.unlink()


def synced(path: Path) -> None:
    """Waits until the file's bytes are on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def begin(folder: Path, of: str) -> None:
    """A folder that is filled incrementally: remains of a killed run are kept if they are from the
    same work, else removed.

    `of` identifies the work; it is in the file `origin` until the caller has finished and removes
    that. Only inside `making`. Raises `OSError`.
    """
    origin = folder / "origin"
    if folder.is_dir() and not (origin.is_file() and origin.read_text() == of):
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    with replacing(origin) as file:
        file.write(of.encode())


class ReadOnly(BadInput):
    """A file that this user may not write."""


def unwritable(path: Path, error: OSError) -> BadInput:
    """One line for a folder that can't be written or is full."""
    where = " in VPT_HARNESS_CACHE" if path.is_relative_to(cache_dir()) else ""
    kind = ReadOnly if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else BadInput
    return kind(
        f"can't write {path} ({error.strerror}). Free some space, or name another folder{where}."
    )
