"""From a decoded image to the square that a backbone takes, as the card's `pixels` says. Mean and std come later, on the device."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from harness.cards import TaskCard
from harness.errors import BadInput

PIXELS = ("pil",)
"""What this version has."""


def check_pixels(card: TaskCard) -> None:
    """Raises `BadInput` for a pixel source that this version lacks."""
    if card.pixels not in PIXELS:
        raise BadInput(f"task {card.name}: pixels '{card.pixels}' are not in this version, which has: {', '.join(PIXELS)}.")


def square(pixels: str, image: Image.Image, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """`pil`: resized straight to a square, bicubic with antialias, whatever its shape was: VTAB's rule, with Pillow's arithmetic."""
    assert pixels in PIXELS
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
