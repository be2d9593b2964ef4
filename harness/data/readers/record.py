"""A record: one image with its label or its mask, named but not yet decoded."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL.Image import Image


@dataclass(frozen=True)
class Mask:
    """What each pixel of an image is, not yet decoded."""

    raw: Callable[[], bytes]
    """The stored bytes."""
    classes: Callable[[], UInt8[np.ndarray, "height width"]]
    """Decodes to classes, 255 where a pixel doesn't count. Raises `OSError` where the bytes are no
    image, `BadInput` for a size or a class that can't be."""


@dataclass(frozen=True)
class Record:
    key: str
    """The record's name in its source: a file, a row number."""
    label: int
    """0-based class; of a segmentation task 0."""
    raw: Callable[[], bytes]
    """The stored bytes, undecoded: what a fingerprint is made of."""
    image: Callable[[], Image]
    """Decodes to RGB. Raises `OSError` where the bytes are no image."""
    stamp: Callable[[], str] = lambda: ""
    """Changes when the stored bytes may have changed (size and time of a file); cheap."""
    known_sha256: Callable[[], str] | None = None
    """For data in another form than they were published in: the digest of the bytes that were."""
    mask: Mask | None = None
    """Of a segmentation task."""
    file: str = ""
    """The file that the bytes are in, for errors; empty where the key says it, or nothing does."""

    def sha256(self) -> str:
        """Of the stored bytes; where there is a mask, of the image's digest and the mask's."""
        return self.digests()[0]

    def digests(self) -> tuple[str, str]:
        """`sha256`, and that of the image's stored bytes alone. Both are read once."""
        if self.known_sha256:
            return (known := self.known_sha256()), known
        image = hashlib.sha256(self.raw())
        if self.mask is None:
            return (alone := image.hexdigest()), alone
        return (
            hashlib.sha256(image.digest() + hashlib.sha256(self.mask.raw()).digest()).hexdigest(),
            image.hexdigest(),
        )
