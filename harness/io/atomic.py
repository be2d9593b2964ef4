"""Files that are made by one process at a time, and either whole or absent."""

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
    """Holds the lock of `path`: the other processes that want to make it wait. Raises `BadInput`
    where the cache can't be written."""
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
    """A file that takes the place of `path` when the block ends well. Only while `making(path)`.

    What a killed process left is overwritten. A device or a pipe is written to as it is. `sync`:
    its bytes are on the disk before its name is. Raises `BadInput` for an `OSError`.
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
    """A path beside `path`; the file that is written there takes the place of `path` when the block
    ends well. Several processes may do so at once: each has its own. `OSError`s are the caller's.
    """
    with temporary(path) as part:
        yield part
        synced(part)
        part.replace(path)


@contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """A path beside `path` that is this process's alone: `NAME.PROCESS.tmp`. What is still there
    when the block ends is removed."""
    part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield part
    finally:
        with suppress(OSError):
            part.unlink()


def synced(path: Path) -> None:
    """Returns when the file's bytes are on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def begin(folder: Path, of: str) -> None:
    """A folder that is filled little by little: what a killed run left there of the same work
    stays, of other work it goes.

    `of` says which work; it is in the file `origin` until the caller, done, removes it. Only while
    `making`. Raises `OSError`.
    """
    origin = folder / "origin"
    if folder.is_dir() and not (origin.is_file() and origin.read_text() == of):
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    with replacing(origin) as file:
        file.write(of.encode())


class ReadOnly(BadInput):
    """A file that this user may not write, or nobody."""


def unwritable(path: Path, error: OSError) -> BadInput:
    """One line for a folder that can't be written or is full."""
    where = " in VPT_HARNESS_CACHE" if path.is_relative_to(cache_dir()) else ""
    kind = ReadOnly if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else BadInput
    return kind(f"can't write {path} ({error.strerror}). Make room, or name another folder{where}.")
