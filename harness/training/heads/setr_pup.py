"""Segmentation's head: SETR's progressive upsampling. Zheng et al., CVPR 2021, arXiv 2012.15840,
section 3.2.

    main       LayerNorm, four times (3 x 3 convolution to 256, batch norm, ReLU, bilinear x 2), 1 x
               1 to the classes; on the last block
    auxiliary  LayerNorm, two times (the same, bilinear x 4), 1 x 1 to the classes; on blocks 9, 14
               and 19 of 24; in training alone

Sizes, blocks, initial values and the auxiliary losses' weight are those of MMSegmentation's
`setr_vit-l_pup_8xb2-160k_ade20k-512x512`. It reads image tokens only: CLS, register and prompt
tokens never come here.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from harness.backbones.frozen import FrozenBackbone, Read
from harness.training.heads.head import Head

CHANNELS = 256
AUXILIARY = (10, 15, 20)
"""Blocks with an auxiliary head, counted from 1, of a ViT with `DEPTH`; scaled for others."""
DEPTH = 24


def channels_of(dim: int) -> int:
    """The convolutions' width: 256, and of a ViT narrower than that a third of its width, so that a
    tiny ViT has a tiny head."""
    return CHANNELS if dim >= CHANNELS else max(1, dim // 3)


def blocks_of(depth: int) -> tuple[int, ...]:
    """The blocks that are read, 0-based and ascending, the main head's last: 9, 14, 19, 23 of 24;
    4, 7, 9, 11 of 12."""
    # rounded, halves up
    scaled = {max(1, (2 * block * depth + DEPTH) // (2 * DEPTH)) - 1 for block in AUXILIARY}
    return (*sorted(scaled - {depth - 1}), depth - 1)


class Upsampling(nn.Module):
    """Tokens of one block -> scores of every pixel, at 16 times the tokens' resolution."""

    def __init__(self, vit: FrozenBackbone, classes: int, steps: int, factor: int):
        super().__init__()
        self.grid, self.factor = vit.grid, factor
        channels = channels_of(vit.dim)
        self.norm = nn.LayerNorm(vit.dim, eps=1e-6)
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(vit.dim if step == 0 else channels, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            )
            for step in range(steps)
        )
        self.classify = nn.Conv2d(channels, classes, 1)
        for module in self.steps.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.zeros_(self.classify.bias)  # type: ignore[arg-type]

    def forward(
        self, tokens: Float[Tensor, "batch image dim"]
    ) -> Float[Tensor, "batch class height width"]:
        """Upsampling and a 1 x 1 convolution commute (both are linear, and bilinear weights sum to
        1): so the last upsampling comes after it, and the convolution has a quarter of the pixels,
        a sixteenth in an auxiliary head.
        """
        x = self.norm(tokens).transpose(1, 2).unflatten(2, self.grid)
        for number, step in enumerate(self.steps):
            x = step(x if number == 0 else self.enlarged(x))
        return self.enlarged(self.classify(x))

    def enlarged(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False)


class SetrPup(Head):
    """Tokens of the blocks in `read` -> scores (batch, class, size, size), `size` being the side of
    the ViT's images.

    In training also those of the auxiliary heads, in ascending order of blocks, behind the main
    one's: a list.
    """

    def __init__(self, vit: FrozenBackbone, classes: int):
        super().__init__()
        self.classes, self.size = classes, vit.image_size
        # of a backbone with stages, only the last one's blocks are on its grid
        *self.auxiliary_blocks, self.last = (
            block for block in blocks_of(vit.depth) if vit.widths[block] == vit.dim
        )
        self.main = Upsampling(vit, classes, steps=4, factor=2)
        self.auxiliary = nn.ModuleList(
            Upsampling(vit, classes, steps=2, factor=4) for _ in self.auxiliary_blocks
        )

    @property
    def read(self) -> Read:
        return Read((*self.auxiliary_blocks, self.last) if self.training else (self.last,), "image")

    def scores(self, features: list[Float[Tensor, "batch image dim"]]) -> Tensor | list[Tensor]:
        if not self.training:
            return self.fitted(self.main(features[-1]))
        others = [head(rows) for head, rows in zip(self.auxiliary, features[:-1], strict=True)]
        return [self.fitted(scores) for scores in (self.main(features[-1]), *others)]

    def fitted(
        self, scores: Float[Tensor, "batch class height width"]
    ) -> Float[Tensor, "batch class size size"]:
        """Of the images' size, where 16 times the tokens' resolution isn't: a patch has another
        side than 16."""
        if scores.shape[-1] == self.size:
            return scores
        return F.interpolate(
            scores, size=(self.size, self.size), mode="bilinear", align_corners=False
        )
