"""One file from a plain address: goes on where it was cut, and is what it should be, or isn't
there."""

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
"""Seconds to connect, and without a byte."""

TRIES = 5
"""In a row that bring nothing new."""

WAIT = 1.0
"""Seconds after the first of these; doubled after each."""

CHUNK = 1 << 20

Progress = Callable[[str, int, int | None], None]
"""Takes what is being done, and bytes done and all."""


def download(archive: Archive, path: Path, progress: Progress) -> None:
    """Puts the archive at `path`. What came before a cut is in `NAME.part`.

    A file that is at `path` already, put there by hand, is checked as if it had come. Raises
    `BadInput`.
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
    had = _size(part)
    if archive.bytes is not None and had > archive.bytes:
        part.unlink()
        had = 0
    _refuse_full(archive, part, had)
    failures = 0
    while had != archive.bytes:
        try:
            if _receive(archive, part, had, progress):
                return
            problem = "the connection was cut"
        except _Refused as answer:
            raise BadInput(
                f"{archive.url} can't be downloaded: {answer}. {_by_hand(path)}"
            ) from answer
        except requests.RequestException as error:
            problem = str(error) if isinstance(error, _Busy) else type(error).__name__
        now = _size(part)
        failures = failures + 1 if now <= had else 0
        had = now
        if failures == TRIES:
            host = urlsplit(archive.url).hostname
            raise BadInput(
                f"can't get {archive.name} from {host} ({problem}): is this machine online?"
                f" {_by_hand(path)}"
            )
        time.sleep(WAIT * 2**failures if failures else 0)


class _Busy(requests.RequestException):
    """An answer that may be another one later."""


class _Refused(Exception):
    """An answer that stays."""


def _receive(archive: Archive, part: Path, had: int, progress: Progress) -> bool:
    """One request; whether it came to its end. Raises `_Refused` and requests' errors."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={had}-"} if had else {})
    with requests.get(archive.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        said = f"its server answered {answer.status_code} {answer.reason}"
        if answer.status_code == 416:  # nothing behind what we have, or something else than before
            part.unlink()
            return False
        if answer.status_code == 429 or answer.status_code >= 500:
            raise _Busy(said)
        if answer.status_code not in (200, 206):
            raise _Refused(said)
        begin = had if answer.headers.get("Content-Range", "").startswith(f"bytes {had}-") else 0
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
    """Size and checksum, as far as the card has them. Raises `BadInput`; a wrong `.part` is
    deleted, so that the next try begins anew."""
    progress(f"checking {archive.name}", 0, None)
    found = _wrong_size(archive, path) or _wrong_sum(archive, path)
    if found:
        deleted = path.suffix == ".part"
        if deleted:
            path.unlink()
        raise BadInput(
            f"{archive.name} of {archive.url} {found}."
            f" {'Try again' if deleted else f'Delete {path}'}; or its owner changed it."
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
                found = hashlib.file_digest(file, kind).hexdigest()
            if found != expected:
                return f"has {kind} {found}, expected {expected}"
    return ""


def _refuse_full(archive: Archive, part: Path, had: int) -> None:
    left, free = (archive.bytes or 0) - had, shutil.disk_usage(part.parent).free
    if left > free:
        raise BadInput(
            f"{archive.name} needs {left:,} more bytes, and {part.parent} has room for {free:,}."
            " Make room."
        )


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _by_hand(path: Path) -> str:
    return f"Try later; or get it elsewhere, put it at {path}, and run the same command."
