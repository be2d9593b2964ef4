"""Pictures of a segmentation model's predictions: a palette PNG of classes, and the image overlaid
with their colours."""

import colorsys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from harness.errors import BadInput
from harness.inference.tuned_model import Tuned, opened

SHARE = 0.55
"""Share of a class's colour in the blend."""


def palette(classes: int) -> UInt8[np.ndarray, "256 3"]:
    """One colour per class, the first a muted one, neighbours far apart on the hue circle; 255,
    which isn't scored, is black."""
    colours = np.zeros((256, 3), np.uint8)
    for index in range(classes):
        hue, (saturation, value) = (
            (0.6 + index * 0.618034) % 1,
            ((0.35, 0.5), (0.75, 0.95), (0.45, 0.95))[index % 3],
        )
        colours[index] = np.rint(255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value)))
    colours[255] = 0
    return colours


def paletted(pixels: UInt8[np.ndarray, "height width"], classes: int) -> Image.Image:
    """A map of classes as an image whose values are the classes, shown in their colours."""
    image = Image.fromarray(pixels).convert("P")
    image.putpalette(palette(classes).tobytes())
    return image


def blended(
    image: Image.Image, pixels: UInt8[np.ndarray, "height width"], classes: int
) -> Image.Image:
    """An RGB image overlaid with the colours of its classes."""
    return Image.blend(image, Image.fromarray(palette(classes)[pixels]), SHARE)


def overlays(tuned: Tuned, files: Sequence[Path], folder: Path) -> Iterator[dict[str, Any]]:
    """Writes `STEM-classes.png` and `STEM-overlay.png` of each image into `folder`; one dict
    per image, with its classes by share.

    Raises `BadInput` for a file that isn't an image, two with the same stem, or a folder that
    can't be written.
    """
    stems = [file.stem for file in files]
    if repeated := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise BadInput(
            f"two images are named {repeated[0]}, so one overlay would replace the other: predict"
            " them separately."
        )
    classes, names = tuned.origin.classes, tuned.origin.class_names
    for file in files:
        image = opened(file)
        pixels = tuned.classes_of_pixels(image)
        written = [folder / f"{file.stem}-{what}.png" for what in ("classes", "overlay")]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            paletted(pixels, classes).save(written[0])
            blended(image, pixels, classes).save(written[1])
        except OSError as error:
            raise BadInput(
                f"--output {folder}: can't be written ({error.strerror or error})."
            ) from error
        counts = np.bincount(pixels.ravel(), minlength=classes)
        shares = [
            {
                "class": int(index),
                "name": names[index] if names else "",
                "share": counts[index] / pixels.size,
            }
            for index in np.argsort(-counts, kind="stable")
            if counts[index]
        ]
        yield {"image": str(file), "classes": shares, "files": [str(path) for path in written]}
