"""How an image becomes a backbone's square, by the card's `pixels`: the part that is done once, and
kept. `batch.py` does the rest.

- `pil`: resized straight to the square, whatever its shape was: bicubic with antialias, by Pillow.
  What most code in the field does.
- `tf`: the same square by TensorFlow 1's bilinear, which VTAB's own code and VPT's use. Kept at
  source size, since its result is float.
- `vpt`: FGVC's rule. The shorter side resized to 8/7 of the square (256 for 224; bilinear with
  antialias); then a random crop and a
  flip in training, the centre in scoring.
- `setr`: segmentation's. Kept at source size, since every epoch rescales it: `scenes.py`.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def kept(
    pixels: str, image: Image.Image, size: int, at_source: bool = False
) -> UInt8[np.ndarray, "height width 3"]:
    """What the cache holds for an image, for squares of side `size`; with `at_source`, `pil` isn't
    resized yet either."""
    image = image.convert("RGB")
    if pixels == "pil" and not at_source:
        image = straight(image, size)
    elif pixels == "vpt":
        image = shorter_side(image, round(size * 8 / 7))
    return np.asarray(image)


def straight(image: Image.Image, size: int) -> Image.Image:
    """A square whatever the shape was."""
    return image.resize((size, size), Image.Resampling.BICUBIC)


def shorter_side(image: Image.Image, length: int) -> Image.Image:
    """Resized so that the shorter side has `length` pixels; the longer follows, rounded down."""
    width, height = image.size
    if width <= height:
        return image.resize((length, length * height // width), Image.Resampling.BILINEAR)
    return image.resize((length * width // height, length), Image.Resampling.BILINEAR)
