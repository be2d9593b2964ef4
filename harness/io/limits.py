"""How much something compressed may become: a few kilobytes can hold gigabytes of zeros."""

import shutil
import zipfile
from pathlib import Path

GROWTH = 200
"""Times its own size: the most compressed file of the suites, dSprites' .npz, grows 120-fold, and
deflate's limit is 1032."""

ALWAYS = 100_000_000
"""Bytes that anything may become."""


class TooLarge(Exception):
    """It would become more than it may."""


class Room:
    """What is left of the bytes that a file may become."""

    def __init__(self, packed: Path, into: Path | None = None):
        """`into`: the folder that it is unpacked to, whose disk then has room for it."""
        self.left = max(ALWAYS, GROWTH * packed.stat().st_size)
        if into is not None:
            self.left = min(self.left, shutil.disk_usage(into).free)

    def take(self, size: int) -> None:
        """Raises `TooLarge`."""
        self.left -= size
        if self.left < 0 or size < 0:
            raise TooLarge(
                f"it would grow to more than {GROWTH} times its size, or beyond the free space on"
                " the disk"
            )


def check_zip(path: Path) -> None:
    """What a zip (an .npz, a .pt) says that its members have; `zipfile` reads no more of them.
    Raises `TooLarge`, `BadZipFile`."""
    room = Room(path)
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            room.take(entry.file_size)
