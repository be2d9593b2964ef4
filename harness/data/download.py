"""Downloads one file from a plain URL: resumes after interruptions, and leaves a verified file or
none."""

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import requests

from harness.errors import BadInput
from harness.io.atomic import unwritable
from harness.tasks.cards import Archive

TIMEOUT = (15, 60)
"""Seconds to connect, and to wait for a byte."""

TRIES = 5
"""Attempts in a row that may receive nothing new."""

WAIT = 1.0
"""Seconds after the first of these; doubled after each."""

CHUNK = 1 << 20

Progress = Callable[[str, int, int | None], None]
"""Called with the current step, bytes done, and total bytes."""


def download(archive: Archive, path: Path, progress: Progress) -> None:
    """Downloads the archive to `path`. A partial download is kept in `NAME.part`.

    A file that was already put at `path` by hand is verified as well. Raises `BadInput`.
    """
    try:
        if path.is_file():
            return verify(archive, path, progress)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        _receive_all(archive, path, part, progress)
        verify(archive, part, progress)
        part.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error


def _receive_all(archive: Archive, path: Path, part: Path, progress: Progress) -> None:
    received = _size(part)
    if archive.bytes is not None and received > archive.bytes:
        part.unlink()
        received = 0
    _refuse_full(archive, part, received)
    failures = 0
    while received != archive.bytes:
        try:
            if _receive(archive, part, received, progress):
                return
            problem = "the connection was closed early"
        except _Refused as answer:
            raise BadInput(
                f"{archive.url} can't be downloaded: {answer}. {_by_hand(path)}"
            ) from answer
        except requests.RequestException as error:
            problem = str(error) if isinstance(error, _Busy) else type(error).__name__
        now = _size(part)
        failures = failures + 1 if now <= received else 0
        received = now
        if failures == TRIES:
            host = urlsplit(archive.url).hostname
            raise BadInput(
                f"can't download {archive.name} from {host} ({problem}): is this machine online?"
                f" {_by_hand(path)}"
            )
        time.sleep(WAIT * 2**failures if failures else 0)


class _Busy(requests.RequestException):
    """A response that may be different later."""


class _Refused(Exception):
    """A response that is final."""


def _receive(archive: Archive, part: Path, received: int, progress: Progress) -> bool:
    """One request; whether it received everything. Raises `_Refused` and requests' errors."""
    headers = {"Accept-Encoding": "identity"} | (
        {"Range": f"bytes={received}-"} if received else {}
    )
    with requests.get(archive.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        status = f"its server responded {answer.status_code} {answer.reason}"
        if answer.status_code == 416:  # nothing after what we have, or the file has changed
            part.unlink()
            return False
        if answer.status_code == 429 or answer.status_code >= 500:
            raise _Busy(status)
        if answer.status_code not in (200, 206):
            raise _Refused(status)
        begin = (
            received
            if answer.headers.get("Content-Range", "").startswith(f"bytes {received}-")
            else 0
        )
        length = answer.headers.get("Content-Length")
        total = begin + int(length) if length is not None else archive.bytes
        done = begin
        with part.open("r+b" if part.is_file() else "wb") as file:
            file.truncate(begin)
            file.seek(begin)
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                done += len(chunk)
                progress(archive.name, done, total)
        return total is None or done == total


def verify(archive: Archive, path: Path, progress: Progress) -> None:
    """Checks size and checksum, if the card has them. Raises `BadInput`; a wrong `.part` is
    deleted, so that the next attempt starts over."""
    progress(f"checking {archive.name}", 0, None)
    problem = _wrong_size(archive, path) or _wrong_sum(archive, path)
    if problem:
        deleted = path.suffix == ".part"
        if deleted:
            path.unlink()
        raise BadInput(
            f"{archive.name} from {archive.url} {problem}."
            f" {'Try again' if deleted else f'Delete {path}'}; or its owner has changed it."
        )


def _wrong_size(archive: Archive, path: Path) -> str:
    size = path.stat().st_size
    return (
        f"has {size:,} bytes, expected {archive.bytes:,}"
        if archive.bytes not in (None, size)
        else ""
    )


def _wrong_sum(archive: Archive, path: Path) -> str:
    for kind, expected in (("sha256", archive.sha256), ("md5", archive.md5)):
        if expected:
            with path.open("rb") as file:
                actual = hashlib.file_digest(file, kind).hexdigest()
            if actual != expected:
                return f"has {kind} {actual}, expected {expected}"
    return ""


def _refuse_full(archive: Archive, part: Path, received: int) -> None:
    left, free = (archive.bytes or 0) - received, shutil.disk_usage(part.parent).free
    if left > free:
        raise BadInput(
            f"{archive.name} needs {left:,} more bytes, but {part.parent} has {free:,} free."
            " Free some space."
        )


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _by_hand(path: Path) -> str:
    return f"Try again later; or get it elsewhere, put it at {path}, and run the same command."
