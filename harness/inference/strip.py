"""A few test images as a model sees them, small enough to be stored with its result: what the page
shows side by side."""

import base64
import io
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from harness.data.scenes import Scenes
from harness.inference.overlay import paletted
from harness.training.sliding import Sliding

IMAGES, SEED, SIDE = 4, 0, 192
"""How many, the seed that chooses them, and the longer side in pixels that a larger one is reduced
to."""


def strip(model: Any, scenes: Scenes, device: torch.device) -> list[dict[str, Any]]:
    """One dict an image: its `row` in the split, and in base64 the `image`, its `truth` and the
    model's `seen` classes, as PNG.

    An image that had to be reduced is a JPEG, since a PNG of a photograph has ten times the bytes.
    The rows follow from the split's length alone, so they are the same for every method and seed.
    """
    rows = np.sort(np.random.RandomState(SEED).permutation(len(scenes))[:IMAGES])
    classes, found = model.head.classes, []
    for row in rows.tolist():
        image, mask = scenes.scene(row)
        seen = Sliding(
            model, image, scenes.crop, scenes.size, classes, device, statistics=scenes.statistics
        ).classes_of_pixels()
        truth, seen = (
            _text(_small(paletted(pixels, classes), Image.Resampling.NEAREST), "png")
            for pixels in (_plain(mask), seen)
        )
        small = _small(Image.fromarray(image), Image.Resampling.BICUBIC)
        picture = _text(small, "png" if small.size == image.shape[1::-1] else "jpeg")
        found.append({"row": row, "image": picture, "truth": truth, "seen": seen})
    return found


def _plain(mask: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """Not a view of a memory map, which Pillow can't take."""
    return np.array(mask)


def _small(image: Image.Image, resampling: Image.Resampling) -> Image.Image:
    factor = SIDE / max(image.size)
    if factor >= 1:
        return image
    width, height = (max(1, round(side * factor)) for side in image.size)
    return image.resize((width, height), resampling)


def _text(image: Image.Image, form: str) -> str:
    content = io.BytesIO()
    image.save(content, form, optimize=True)
    return base64.b64encode(content.getvalue()).decode()
