"""LoR-VP, a low-rank image added to every image: Jin et al., ICLR 2025, arXiv 2502.00896.

    x' = normalise(x + B A),   B: (3, side, r), zero; A: (3, r, side), drawn from N(0, 0.01^2)

B A is added to pixels of 0 to 1, before mean and std are taken out; the head is linear ("lp" there;
its maps of classes need a classifier's own). Ours searches learning rates above the released 0.02
too: it was used for data sets of 100,000 images and more.

Equal to the released module (jincan333/LoR-VP, commit 107e677; without a log line that reads
attributes it doesn't have) before the same ViT: features to 3e-15, gradients to 3e-15.
"""

import torch
from torch import Tensor, nn

from harness import FrozenBackbone, Method, Read


class LoRVP(Method):
    """An image of rank `rank`, channel by channel, is added to the pixels."""

    name = "lor-vp"
    family = "prompts"
    year = 2025
    summary = "LoR-VP: a low-rank image added to the pixels (arXiv 2502.00896)"
    note = "lor-vp's published numbers are of CIFAR, Tiny-ImageNet and ImageNet, not of VTAB."
    needs = ()
    search_space = {"base_lr": (0.02, 0.1, 0.5, 2.5, 10.0)}

    def __init__(self, vit: FrozenBackbone, rank: int = 4):
        super().__init__(vit)
        if rank < 1:
            raise ValueError("lor-vp's rank is a number from 1 on, such as lor-vp(rank=4)")
        self.left = nn.Parameter(torch.zeros(3, vit.image_size, rank))
        self.right = nn.Parameter(0.01 * torch.randn(3, rank, vit.image_size))
        std = torch.tensor(vit.statistics.std, dtype=torch.float64)[:, None, None]
        self.register_buffer("std", std, persistent=False)

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        std: Tensor = self.std.to(images.dtype)  # type: ignore[operator,assignment]
        return super().forward(images + self.left @ self.right / std, read)
