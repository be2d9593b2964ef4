"""Image files, decoded. They may be anybody's: only what image sets are made of is opened, and only up to a size."""

import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""Pillow would open some forty more, Encapsulated PostScript by starting Ghostscript among them."""

SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
"""What these formats begin with, for decoders that can't be told which to take."""

MOST = 50_000_000
"""Pixels, 150 MB in RGB. The largest images of the suites have some 20 million."""


def opened(file: Path | io.BytesIO) -> Image.Image:
    """An image, header alone. Raises `OSError`, `ValueError` and others where it is none."""
    image = Image.open(file, formats=FORMATS)
    if image.width * image.height > MOST:
        raise ValueError(f"{image.width} x {image.height} pixels are too many")
    return image


def remarks(content: bytes) -> Iterator[str]:
    """What an image file has that its pixels don't show, each as what `has` may stand before."""
    if content.startswith(b"\xff\xd8") and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        yield "no end: its last part may have been lost, and is grey"


def rgb(file: Path | io.BytesIO) -> Image.Image:
    """An image in RGB. Raises `OSError`, `ValueError` and others where it is none."""
    with opened(file) as image:
        return image.convert("RGB")
