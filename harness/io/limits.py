"""Limits on how much compressed data may expand: a few kilobytes can hold gigabytes of zeros."""

import shutil
import zipfile
from pathlib import Path

GROWTH = 200
"""Multiple of its size: the most compressed file of the suites, dSprites' .npz, grows 120-fold, and
deflate's limit is 1032."""

ALWAYS = 100_000_000
"""Bytes that are always allowed."""


class TooLarge(Exception):
    """It would expand beyond the limit."""


class Room:
    """The remaining bytes that a file may expand to."""

    def __init__(self, packed: Path, into: Path | None = None):
        """`into`: the folder that it is unpacked to, whose free space is a limit too."""
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
    """Checks the sizes that a zip (an .npz, a .pt) declares for its members; `zipfile` reads no
    more of them. Raises `TooLarge`, `BadZipFile`."""
    room = Room(path)
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            room.take(entry.file_size)
