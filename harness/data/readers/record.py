"""A record: one image with its label, named but not yet decoded."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from PIL.Image import Image


@dataclass(frozen=True)
class Record:
    key: str
    """The record's name in its source: a file, a row number."""
    label: int
    """0-based class."""
    raw: Callable[[], bytes]
    """The stored bytes, undecoded: what a fingerprint is made of."""
    image: Callable[[], Image]
    """Decodes to RGB. Raises `OSError` where the bytes are no image."""
    stamp: Callable[[], str] = lambda: ""
    """Changes when the stored bytes may have changed (size and time of a file); cheap."""
    known_sha256: Callable[[], str] | None = None
    """For data in another form than they were published in: the digest of the bytes that were."""

    def sha256(self) -> str:
        """Of the stored bytes."""
        return self.known_sha256() if self.known_sha256 else hashlib.sha256(self.raw()).hexdigest()
