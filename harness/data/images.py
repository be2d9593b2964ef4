"""Image files, decoded to RGB. They may be anybody's: only what image sets are made of is opened,
and only up to a size.

What becomes of pixels that aren't 8-bit RGB or grey; all that isn't named here is refused by name.

- 16-bit grey: the whole range becomes 8 bits, value / 257 rounded (12 bits in TIFF: value / 4095 *
  255). The same for every image, so
  that two of them still compare; stretching each one's own contrast would not. 16-bit colour:
  Pillow keeps the upper 8 bits.
- 32-bit integers and floats: refused, since nothing says what is white. LAB: refused, since Pillow
  has no conversion to RGB.
- Transparent parts: over mid-grey, 128. White would swallow what is white on nothing, black what is
  black; and grey is near zero once the
  mean is taken out. Where a benchmark's own code drops alpha (TensorFlow for VTAB, Pillow's
  `convert` for FGVC), it is dropped.
- 1 bit, palettes, CMYK (Adobe's inverted ones too), YCCK and YCbCr: Pillow's conversion. Colour
  profiles don't count.
- EXIF's orientation isn't applied, as neither TensorFlow nor torchvision does; TIFF's is, by
  Pillow. Of several frames, the first counts.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""Pillow would open some forty more, Encapsulated PostScript by starting Ghostscript among them."""

SIGNATURES = (
    b"\xff\xd8\xff",
    b"\x89PNG",
    b"GIF8",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"RIFF",
    b"P1",
    b"P2",
    b"P3",
    b"P4",
    b"P5",
    b"P6",
)
"""What these formats begin with, for decoders that can't be told which to take."""

MOST = 50_000_000
"""Pixels, 150 MB in RGB. The largest images of the suites have some 20 million."""

RULES = 2
"""Of the rules above: another number for other pixels, so that none that were kept by older rules
are read."""

GREY = 128
"""What is behind transparent parts."""

Alpha = Literal["grey", "dropped"]
PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
REMARKS = "remarks"
"""In a decoded image's `info`: what was done to it that its pixels don't show, for `harness data
verify`."""

BITS, PHOTOMETRIC, WHITE_IS_ZERO, ORIENTATION = 258, 262, 0, 274
"""Tags of TIFF and EXIF."""


def opened(file: Path | io.BytesIO) -> Image.Image:
    """An image, header alone. Raises `OSError`, `ValueError` and others where it is none."""
    image = Image.open(file, formats=FORMATS)
    if image.width * image.height > MOST:
        raise ValueError(f"{image.width} x {image.height} pixels are too many")
    return image


def rgb(file: Path | io.BytesIO, alpha: Alpha = "grey") -> Image.Image:
    """An image in RGB. Raises `OSError`, `ValueError` and others where it is none, or one of a kind
    that is refused."""
    with opened(file) as image:
        return as_rgb(image, alpha)


def as_rgb(image: Image.Image, alpha: Alpha = "grey") -> Image.Image:
    """An opened image in RGB, by the rules above. Raises `ValueError` for a kind that is refused,
    and Pillow's errors."""
    # first: looking for EXIF loads a PNG too, and what was wrong with its pixels would be lost with
    # what is wrong with that
    image.load()
    said = list(_frames_and_turn(image))
    if image.mode.startswith("I"):
        said.append("16 bits per pixel, converted to 8")
        found = _narrowed(image).convert("RGB")
    elif image.mode in PLAIN or image.mode in TRANSPARENT:
        found = image.convert("RGB")
        if _has_alpha(image):
            over = _over_grey(image)
            if over is not None:
                said.append(
                    "transparent parts, "
                    + (
                        "blended onto grey"
                        if alpha == "grey"
                        else "treated as solid, as the benchmark's own code does"
                    )
                )
                found = over if alpha == "grey" else found
    else:
        raise ValueError(unknown_range(image.mode))
    found.info[REMARKS] = tuple(said)
    return found


def unknown_range(mode: str) -> str:
    """Why pixels of a kind are refused."""
    names = {"F": "32-bit floats", "I": "32-bit integers", "LAB": "LAB colours"}
    why = "have no conversion to RGB" if mode == "LAB" else "have no known range"
    return (
        f"its pixels are {names.get(mode, f'of kind {mode}')}, which {why}: save it with 8 or 16"
        " bits per channel, in RGB or grey"
    )


def remarks(content: bytes) -> Iterator[str]:
    """What is odd about an image file that decodes, each as what `has` may stand before."""
    if content.startswith(b"\xff\xd8") and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        yield "no end marker: its last part may be missing, and is grey"


def _frames_and_turn(image: Image.Image) -> Iterator[str]:
    if getattr(image, "is_animated", False):
        yield "several frames, of which the first is used"
    if image.format != "TIFF" and _orientation(image) != 1:
        yield "an EXIF orientation, which isn't applied"


def _orientation(image: Image.Image) -> Any:
    """1 for an image as it is, and for EXIF that can't be read: the pixels are whole all the
    same."""
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # Pillow raises many kinds for it
        return 1


def _narrowed(image: Image.Image) -> Image.Image:
    """16-bit grey in 8 bits; what a PNG declares transparent (one value) is blended onto grey."""
    # whose 16 bits older Pillows call I
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        raise ValueError(unknown_range("I"))
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS, (16,))[0] if tags else 16
    most = (1 << bits) - 1
    values = np.asarray(image).astype(np.int64).clip(0, most)
    narrow = (values * 255 + most // 2) // most
    if tags and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        narrow = 255 - narrow
    if isinstance(clear := image.info.get("transparency"), int):
        narrow = np.where(values == clear, GREY, narrow)
    return Image.fromarray(narrow.astype(np.uint8))


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in TRANSPARENT or "transparency" in image.info


def _over_grey(image: Image.Image) -> Image.Image | None:
    """Over mid-grey; None where all is solid."""
    clear = image.convert("RGBA")
    lowest, _ = clear.getchannel("A").getextrema()
    if lowest == 255:
        return None
    return Image.alpha_composite(
        Image.new("RGBA", image.size, (GREY, GREY, GREY, 255)), clear
    ).convert("RGB")
