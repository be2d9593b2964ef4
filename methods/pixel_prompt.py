"""VP, a border of learnable pixels: Bahng et al., 2022, arXiv 2203.17274; here with a linear head.

    x' = x + V,   V: zero but for a border of p pixels, drawn from N(0, 1); x is normalised, as
                  released

VP has no head: it maps a classifier's own classes to the task's. Ours trains a linear head with the
border, as DAM-VP and LoR-VP do; the border has no weight decay, as VP has none. p is said for
images of 224 pixels and scaled to the backbone's.

Equal to the released border (hjbahng/visual_prompting, commit 679e71f) before the same ViT:
features to 8e-16, gradients to 6e-17.
"""

import torch
from torch import Tensor, nn

from harness import Factors, FrozenBackbone, Method, Read

SIDE = 224
"""Of the images that `border` is said for."""


class PixelPrompt(Method):
    """A border of `border` pixels, in an image of 224, is added to the image."""

    name = "pixel-prompt"
    family = "prompts"
    year = 2022
    summary = "VP with a linear head: a border of learnable pixels (arXiv 2203.17274)"
    note = "pixel-prompt has a linear head; VP's published numbers are of a fixed map of classes."
    needs = ()
    search_space = {"border": (10, 30, 50)}

    def __init__(self, vit: FrozenBackbone, border: int = 30):
        super().__init__(vit)
        side = vit.image_size
        width = round(border * side / SIDE)
        inner = side - 2 * width
        if width < 1 or inner < 1:
            raise ValueError(
                f"pixel-prompt's border={border} leaves {width} pixels of border and {inner} inside"
                f" it in an image of {side}: write another, such as pixel-prompt(border=30)"
            )
        shapes = (width, side), (width, side), (inner, width), (inner, width)
        self.border = nn.ParameterList(torch.randn(3, *shape) for shape in shapes)

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        up, down, left, right = self.border
        inside = left.new_zeros(3, left.shape[1], up.shape[2] - 2 * left.shape[2])
        middle = torch.cat([left, inside, right], dim=2)
        return super().forward(images + torch.cat([up, middle, down], dim=1), read)

    def factors(self) -> dict[str, Factors]:
        return {"border": Factors(decay=0.0)}
