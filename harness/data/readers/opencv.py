"""The OpenCV operations with which TensorFlow Datasets made sun397 and diabetic_retinopathy, and
substitutes for when OpenCV isn't installed.

Images here are uint8 arrays of (height, width, 3), blue first, as in OpenCV. The substitutes give
nearly, but not exactly, the same pixels: then the keys of records begin with `not-tfds-exact:`,
which changes the fingerprint and so separates the scores.
"""

import io
import os

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from harness.data.images import MOST, SIGNATURES, as_rgb, opened

os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST))  # read when it is imported
try:
    import cv2
except ImportError:  # the extra [tfds]
    cv2 = None
else:
    cv2.setNumThreads(1)  # many images are processed in parallel

Pixels = UInt8[np.ndarray, "height width 3"]
Resized = UInt8[np.ndarray, "down across 3"]
MARK = "not-tfds-exact:"
PNG = b"\x89PNG\r\n\x1a\n"


def marked(key: str) -> str:
    """The key of a record whose pixels are processed here."""
    return key if cv2 is not None else MARK + key


def decode(content: bytes) -> Pixels:
    """Raises `OSError` and others if it isn't an image.

    TensorFlow read the GIFs (named .jpg) that OpenCV couldn't, red first, and OpenCV encoded them
    as if they were blue first; this does the same.
    """
    if not content.startswith(SIGNATURES):
        raise OSError("cannot identify image file")
    if content.startswith(b"GIF8"):
        return _decoded_by_pillow(content)
    if content.startswith(PNG) and not _holds_its_chunks(content):
        raise OSError("a PNG with a chunk longer than the file")
    if cv2 is not None:
        image = cv2.imdecode(
            np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
        )
        if image is not None:
            if image.dtype != np.uint8:  # which OpenCV's encoder would clip at 255
                raise OSError(
                    f"its pixels are {image.dtype}, but this task's processing needs 8 bits:"
                    " save it with 8 bits per channel"
                )
            return image
    return _decoded_by_pillow(content)[..., ::-1]


def _holds_its_chunks(png: bytes) -> bool:
    """Whether all chunks fit in the file: OpenCV allocates as many bytes as a chunk claims, up to
    2 GB, before it reads them."""
    place, kind = len(PNG), b""
    while place + 8 <= len(png) and kind != b"IEND":  # what follows the end is ignored
        kind = png[place + 4 : place + 8]
        place += 12 + int.from_bytes(png[place : place + 4])
    return place <= len(png)


def _decoded_by_pillow(content: bytes) -> Pixels:
    with opened(io.BytesIO(content)) as image:
        if image.mode.startswith("I"):
            raise OSError(
                "its pixels have 16 bits, but this task's processing needs 8: save it with 8"
                " bits per channel"
            )
        return np.asarray(as_rgb(ImageOps.exif_transpose(image), "dropped"))


def encode(image: Pixels, quality: int = 95) -> bytes:
    """JPEG; 95 is OpenCV's own default."""
    if cv2 is not None:
        return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[..., ::-1])).save(file, "JPEG", quality=quality)
    return file.getvalue()


def resize(image: Pixels, factor: float) -> Resized:
    """Bilinear between half-pixel centres, without antialias. Raises `OSError` if the result
    would be huge."""
    if image.shape[0] * image.shape[1] * factor**2 > MOST:
        raise OSError(
            f"an image of {image.shape[0]} x {image.shape[1]} pixels that would be enlarged"
            f" {factor:.0f}-fold"
        )
    if cv2 is not None:
        return cv2.resize(image, None, fx=factor, fy=factor)
    import torch
    from torch.nn.functional import interpolate

    height, width = (round(length * factor) for length in image.shape[:2])
    channels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    return (
        interpolate(channels, (height, width), mode="bilinear")[0]
        .permute(1, 2, 0)
        .round()
        .byte()
        .numpy()
    )


def blur(image: Pixels, sigma: float) -> Pixels:
    """Gaussian; the border is mirrored."""
    if cv2 is not None:
        return cv2.GaussianBlur(image, (0, 0), sigma)
    from scipy.ndimage import gaussian_filter

    return (
        gaussian_filter(image.astype(np.float32), (sigma, sigma, 0), mode="mirror", truncate=3.0)
        .round()
        .astype(np.uint8)
    )


def disc(height: int, width: int, radius: int) -> UInt8[np.ndarray, "height width 1"]:
    """1 in a filled circle around the centre, 0 elsewhere."""
    if cv2 is not None:
        return cv2.circle(
            np.zeros((height, width, 1), np.uint8), (width // 2, height // 2), radius, 1, -1
        )
    rows, columns = np.ogrid[:height, :width]
    return ((rows - height // 2) ** 2 + (columns - width // 2) ** 2 <= radius**2).astype(np.uint8)[
        ..., None
    ]
