"""Image files, decoded to RGB. They aren't trusted: only the usual formats of image data sets are
opened, and only up to a size.

How pixels other than 8-bit RGB or grey are treated; any other kind is refused by name.

- 16-bit grey: the whole range becomes 8 bits, value / 257 rounded (12 bits in TIFF: value / 4095 *
  255). The same for every image, so
  that images stay comparable, which stretching each one's contrast would prevent. 16-bit colour:
  Pillow keeps the upper 8 bits.
- 32-bit integers and floats: refused, since nothing says what is white. LAB: refused, since Pillow
  has no conversion to RGB.
- Transparent parts: over mid-grey, 128. White would hide white objects on a transparent
  background, black would hide black ones; and grey is near zero once the mean is subtracted. Where
  a benchmark's own code drops alpha (TensorFlow for VTAB, Pillow's
  `convert` for FGVC), it is dropped.
- 1 bit, palettes, CMYK (Adobe's inverted ones too), YCCK and YCbCr: Pillow's conversion. Colour
  profiles are ignored.
- EXIF's orientation isn't applied, as neither TensorFlow nor torchvision does; TIFF's is, by
  Pillow. Of several frames, the first is used.
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
"""First bytes of these formats, for decoders whose formats can't be restricted."""

MOST = 50_000_000
"""Pixels, 150 MB in RGB. The largest images of the suites have about 20 million."""

RULES = 2
"""Version of the rules above: raised when pixels change, so that those cached under older rules
aren't read."""

GREY = 128
"""The background of transparent parts."""

Alpha = Literal["grey", "dropped"]
PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV")
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
REMARKS = "remarks"
"""Key of a decoded image's `info`: what was done to it that its pixels don't show, for `harness
data verify`."""

BITS, PHOTOMETRIC, WHITE_IS_ZERO, ORIENTATION = 258, 262, 0, 274
"""Tags of TIFF and EXIF."""


def opened(file: Path | io.BytesIO) -> Image.Image:
    """An image, of which only the header is read. Raises `OSError`, `ValueError` and others if it
    isn't one."""
    image = Image.open(file, formats=FORMATS)
    if image.width * image.height > MOST:
        raise ValueError(f"{image.width} x {image.height} pixels, more than {MOST:,}")
    return image


def rgb(file: Path | io.BytesIO, alpha: Alpha = "grey") -> Image.Image:
    """An image in RGB. Raises `OSError`, `ValueError` and others if it isn't one, or is of a kind
    that is refused."""
    with opened(file) as image:
        return as_rgb(image, alpha)


def as_rgb(image: Image.Image, alpha: Alpha = "grey") -> Image.Image:
    """An opened image in RGB, by the rules above. Raises `ValueError` for a kind that is refused,
    and Pillow's errors."""
    # first: looking for EXIF loads a PNG too, and would hide what is wrong with its pixels
    image.load()
    notes = list(_frames_and_turn(image))
    if image.mode.startswith("I"):
        notes.append("16 bits per pixel, converted to 8")
        converted = _narrowed(image).convert("RGB")
    elif image.mode in PLAIN or image.mode in TRANSPARENT:
        converted = image.convert("RGB")
        if _has_alpha(image):
            over = _over_grey(image)
            if over is not None:
                notes.append(
                    "transparent parts, "
                    + (
                        "blended onto grey"
                        if alpha == "grey"
                        else "treated as solid, as the benchmark's own code does"
                    )
                )
                converted = over if alpha == "grey" else converted
    else:
        raise ValueError(unknown_range(image.mode))
    converted.info[REMARKS] = tuple(notes)
    return converted


def unknown_range(mode: str) -> str:
    """Why pixels of a kind are refused."""
    names = {"F": "32-bit floats", "I": "32-bit integers", "LAB": "LAB colours"}
    why = "have no conversion to RGB" if mode == "LAB" else "have no known range"
    return (
        f"its pixels are {names.get(mode, f'of kind {mode}')}, which {why}: save it with 8 or 16"
        " bits per channel, in RGB or grey"
    )


def remarks(content: bytes) -> Iterator[str]:
    """What is odd about an image file that decodes, as phrases that can follow 'has'."""
    if content.startswith(b"\xff\xd8") and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        yield "no end marker: its last part may be missing, and is grey"


def _frames_and_turn(image: Image.Image) -> Iterator[str]:
    if getattr(image, "is_animated", False):
        yield "several frames, of which the first is used"
    if image.format != "TIFF" and _orientation(image) != 1:
        yield "an EXIF orientation, which isn't applied"


def _orientation(image: Image.Image) -> Any:
    """1 for an upright image, and for EXIF that can't be read: the pixels are intact anyway."""
    try:
        return image.getexif().get(ORIENTATION, 1)
    except Exception:  # Pillow raises many kinds for it
        return 1


def _narrowed(image: Image.Image) -> Image.Image:
    """16-bit grey in 8 bits; what a PNG declares transparent (one value) is blended onto grey."""
    # older Pillows use mode I for their 16 bits
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
    """Over mid-grey; None if nothing is transparent."""
    clear = image.convert("RGBA")
    lowest, _ = clear.getchannel("A").getextrema()
    if lowest == 255:
        return None
    return Image.alpha_composite(
        Image.new("RGBA", image.size, (GREY, GREY, GREY, 255)), clear
    ).convert("RGB")
