"""A model's predictions on a few test images, small enough to be stored with its result: the page
shows them side by side."""

import base64
import io
from collections.abc import Sized
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from harness.inference.overlay import paletted
from harness.training.kind import Kind

IMAGES, SEED, SIDE = 4, 0, 192
"""How many, the seed that chooses them, and the longer side in pixels to which larger ones are
reduced."""


def strip(kind: Kind[Any], model: Any, test: Sized, device: torch.device) -> list[dict[str, Any]]:
    """One dict per image: its `row` in the split, and in base64 the `image`, its `truth` and the
    predicted classes, `seen`, as PNG. Empty for a kind without pictures.

    A reduced image is a JPEG, since a PNG of a photograph has ten times the bytes. The rows depend
    only on the split's length, so they are the same for every method and seed.
    """
    rows = np.sort(np.random.RandomState(SEED).permutation(len(test))[:IMAGES])
    pictures = []
    for look in kind.looks(model, test, rows.tolist(), device):
        truth, seen = (
            _text(_small(paletted(pixels, model.head.classes), Image.Resampling.NEAREST), "png")
            for pixels in (_plain(look.truth), look.predicted)
        )
        small = _small(Image.fromarray(look.image), Image.Resampling.BICUBIC)
        picture = _text(small, "png" if small.size == look.image.shape[1::-1] else "jpeg")
        pictures.append({"row": look.row, "image": picture, "truth": truth, "seen": seen})
    return pictures


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
