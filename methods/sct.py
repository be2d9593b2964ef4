"""SCT: Zhao, Wang, Zhao, Luo, Wang and Shou, "SCT: A Simple Baseline for Parameter-Efficient
Fine-Tuning via Salient Channels", IJCV 2023, arXiv 2309.08513, section 3.

K channels of each block, the salient ones, get a linear map of their own. With y the rows behind
attention's residual of the block, F_j(c) the L2 norm of channel c over the image tokens there of
all training images of class j, in the frozen model:

    channels = the K largest of mean_j F_j
    y[channels] <- y[channels] + s (W y[channels] + b)

As released (zhaohengyuan1/SCT, commit 01e8f1e): K = 96; W from a normal distribution of 0.02, b
zero, so that training starts near the backbone; AdamW at batch 64, with learning rate, weight decay
and s chosen by task (s from 0.1 to 1), drop-path 0.1, labels smoothed by 0.1. For some tasks it has
y[channels] <- s y[channels] + W y[channels] + b instead: `rescale`. The lines with s are commented
out there, "for test time"; they are meant here.

Ours: s is searched, in five values; labels aren't smoothed. In segmentation an image is one of the
class that most of its pixels have.

Equal to the released code as committed (s = 1), with its lines for s, and with `rescale`: the same
channels, logits to 1e-14, gradients to 1e-14, on a small ViT in float64.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from harness import FrozenViT, Method, Read, TrainSplit


class SCT(Method):
    """`channels` salient channels of each block (an eighth of them: 96 of 768), with a map of their
    own that counts `scale`; with `rescale` they themselves do, and not the map."""

    name = "sct"
    family = "peft"
    year = 2023
    summary = "SCT: a map of each block's salient channels, behind attention (arXiv 2309.08513)"
    note = (
        "sct's published numbers are of the best test epoch, with learning rate, weight decay and"
        " scale chosen for each task, and smoothed labels."
    )
    needs = ("column", "halves")
    search_space = {"scale": (0.1, 0.2, 0.3, 0.5, 1.0), "base_lr": (0.004, 0.012, 0.04, 0.12, 0.3)}
    optimizer = {"optimizer": "adamw"}
    toggles = ("rescale",)
    salient: Tensor

    def __init__(
        self, vit: FrozenViT, channels: int | None = None, scale: float = 0.5, rescale: bool = False
    ):
        super().__init__(vit)
        channels = vit.dim // 8 if channels is None else channels
        if not 1 <= channels <= vit.dim:
            raise ValueError(f"sct: channels={channels}, and the backbone has 1 to {vit.dim}")
        self.scale, self.rescale = scale, rescale
        maps = [nn.Linear(channels, channels) for _ in range(vit.depth)]
        for linear in maps:
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        self.maps = nn.ModuleList(maps)
        self.register_buffer("salient", torch.arange(channels).repeat(vit.depth, 1))

    def begin(self, train: TrainSplit, head: nn.Module) -> None:
        vit = self.vit
        squares = torch.zeros(vit.depth, train.classes, vit.dim, device=self.salient.device)
        for images, labels in train.batches():
            classes = F.one_hot(one_each(labels, train.classes), train.classes).to(squares)
            tokens = vit.embed(images)
            for index in range(vit.depth):
                tokens = vit.attend(index, tokens)
                energy = tokens[:, vit.prefix :].float().square().sum(1)
                squares[index] += classes.T @ energy
                tokens = vit.feed(index, tokens)
        chosen = squares.sqrt().sum(1).topk(self.salient.shape[1]).indices
        self.salient.copy_(chosen.sort().values)

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        vit, tokens, selected = self.vit, self.vit.embed(images), list[Tensor]()
        for index in range(read.blocks[-1] + 1):
            tokens = self.adapted(index, vit.attend(index, tokens, rows=vit.rows(index, read)))
            tokens = vit.feed(index, tokens)
            selected += vit.select(index, tokens, read)
        return selected

    def adapted(
        self, index: int, rows: Float[Tensor, "batch row dim"]
    ) -> Float[Tensor, "batch row dim"]:
        """Block `index`'s rows behind attention, their salient channels changed."""
        channels = self.salient[index]
        own = rows.index_select(2, channels)
        out = self.maps[index](own).to(rows)
        added = out + (self.scale - 1) * own if self.rescale else self.scale * out
        return rows.index_add(2, channels, added)


def one_each(labels: Tensor, classes: int) -> Tensor:
    """A class for each image: of masks (image, height, width), that of most pixels."""
    if labels.ndim == 1:
        return labels
    known = [mask[(mask >= 0) & (mask < classes)] for mask in labels.flatten(1)]
    return torch.stack([torch.bincount(mask, minlength=classes).argmax() for mask in known])
