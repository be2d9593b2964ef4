"""A record: one image with its label or mask, not yet decoded."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL.Image import Image


@dataclass(frozen=True)
class Mask:
    """The class of each pixel of an image, not yet decoded."""

    raw: Callable[[], bytes]
    """The stored bytes."""
    classes: Callable[[], UInt8[np.ndarray, "height width"]]
    """Decodes to classes, 255 where a pixel isn't scored. Raises `OSError` if the bytes aren't an
    image, `BadInput` for a wrong size or class."""


@dataclass(frozen=True)
class Record:
    key: str
    """The record's name in its source: a file, a row number."""
    label: int
    """0-based class; 0 for a segmentation task."""
    raw: Callable[[], bytes]
    """The stored bytes, undecoded: what a fingerprint is made from."""
    image: Callable[[], Image]
    """Decodes to RGB. Raises `OSError` if the bytes aren't an image."""
    stamp: Callable[[], str] = lambda: ""
    """Changes when the stored bytes may have changed (size and time of a file); cheap."""
    known_sha256: Callable[[], str] | None = None
    """For converted data: the digest of the bytes that were published."""
    mask: Mask | None = None
    """For a segmentation task."""
    file: str = ""
    """The file that contains the bytes, for errors; empty if the key names it, or it is unknown."""

    def sha256(self) -> str:
        """Of the stored bytes; with a mask, of the image's and the mask's digests."""
        return self.digests()[0]

    def digests(self) -> tuple[str, str]:
        """`sha256`, and that of just the image's stored bytes. Both are read once."""
        if self.known_sha256:
            return (known := self.known_sha256()), known
        image = hashlib.sha256(self.raw())
        if self.mask is None:
            return (alone := image.hexdigest()), alone
        return (
            hashlib.sha256(image.digest() + hashlib.sha256(self.mask.raw()).digest()).hexdigest(),
            image.hexdigest(),
        )
