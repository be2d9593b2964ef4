"""What a mini backbone is pretrained for: to name an image's class, or to fill in what is masked.

An objective is a module around the ViT, with its recipe: `forward` gives the loss of a batch,
`measure` the facts that the card states. What both have in common is in `pretrain_mini.py`.
"""

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from harness.backbones.vit import FrozenViT

CLASSES = 10


class Supervised(nn.Module):
    """Cross-entropy with smoothed labels, from a linear head on timm's features."""

    peak_lr, betas, warmup_epochs = 2e-3, (0.9, 0.999), 2
    smoothing = 0.1

    def __init__(self, vit: Any):
        super().__init__()
        self.vit = vit
        self.head = nn.Linear(vit.num_features, CLASSES)

    def forward(self, images: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
        """The loss of images (n, 3, side, side), normalised, and labels (n,)."""
        return F.cross_entropy(self.head(self.vit(images)), labels, label_smoothing=self.smoothing)

    @torch.no_grad()
    def watch(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """The accuracy on held-out images, in %."""
        batches = zip(images.split(500), labels.split(500), strict=True)
        hits = sum((self.head(self.vit(x)).argmax(1) == y).sum().item() for x, y in batches)
        return {"top1": round(100 * hits / len(labels), 2)}

    def measure(
        self, train: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor]
    ) -> dict[str, float]:
        """What is stated of the finished backbone."""
        return self.watch(*held_out)


class MaskedAutoencoder(nn.Module):
    """A masked autoencoder (He et al., CVPR 2022, arXiv 2111.06377).

    The encoder sees CLS and a random quarter of the patches; a small decoder gets its outputs, one
    learned token wherever a patch is missing, and positions. The loss is the squared error of the
    missing patches' pixels, each patch normalised by its own mean and variance. Positions are sines
    and cosines and stay as they are. The decoder is thrown away.
    """

    peak_lr, betas, warmup_epochs = 4e-3, (0.9, 0.95), 2
    masked = 0.75

    def __init__(self, vit: VisionTransformer, width: int = 64, depth: int = 1, heads: int = 2):
        super().__init__()
        self.vit = vit
        patches: Any = vit.patch_embed
        self.side, self.grid = patches.patch_size[0], patches.grid_size[0]
        self.kept = round(patches.num_patches * (1 - self.masked))
        vit.pos_embed = nn.Parameter(positions(self.grid, vit.embed_dim), requires_grad=False)
        self.narrow = nn.Linear(vit.embed_dim, width)
        self.missing = nn.Parameter(torch.zeros(1, 1, width).normal_(std=0.02))
        self.places = nn.Parameter(positions(self.grid, width), requires_grad=False)
        self.blocks = nn.Sequential(
            *(Block(width, heads, qkv_bias=True, norm_layer=nn.LayerNorm) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(width)
        self.pixels = nn.Linear(width, 3 * self.side**2)

    def forward(self, images: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
        """The loss of images (n, 3, side, side), normalised; `rng` draws the masks, labels aren't
        used."""
        n, vit, cut = len(images), self.vit, self.grid * self.side
        # order[i] is a random order of image i's patches: the first ones are kept
        order = torch.rand(n, self.grid**2, generator=rng).argsort(1).to(images.device)
        kept = order[:, : self.kept, None]

        assert vit.cls_token is not None
        assert vit.pos_embed is not None
        tokens = vit.patch_embed(images) + vit.pos_embed[:, 1:]
        visible = tokens.gather(1, kept.expand(-1, -1, vit.embed_dim))
        first = (vit.cls_token + vit.pos_embed[:, :1]).expand(n, -1, -1)
        encoded = self.narrow(vit.norm(vit.blocks(torch.cat([first, visible], dim=1))))

        filled = self.missing.expand(n, self.grid**2, -1)
        filled = filled.scatter(1, kept.expand(-1, -1, encoded.shape[2]), encoded[:, 1:])
        decoded = self.blocks(torch.cat([encoded[:, :1], filled], dim=1) + self.places)
        predicted = self.pixels(self.norm(decoded[:, 1:]))

        # pixels behind the last whole patch are in no patch
        target = images[:, :, :cut, :cut].unflatten(3, (self.grid, self.side))
        target = target.unflatten(2, (self.grid, self.side)).permute(0, 2, 4, 1, 3, 5)
        target = target.reshape(n, self.grid**2, -1)
        mean, variance = target.mean(2, keepdim=True), target.var(2, keepdim=True)
        error = (predicted - (target - mean) / (variance + 1e-6).sqrt()).square().mean(2)
        return error.gather(1, order[:, self.kept :]).mean()

    @torch.no_grad()
    def watch(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """The loss on held-out images, with the same masks each time."""
        rng = torch.Generator().manual_seed(0)
        losses = [
            self(x, y, rng) * len(x)
            for x, y in zip(images.split(500), labels.split(500), strict=True)
        ]
        return {"loss": round(sum(map(float, losses)) / len(images), 4)}

    def measure(
        self, train: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor]
    ) -> dict[str, float]:
        """The loss, and the accuracy of a linear probe on pooled features, in %."""
        return self.watch(*held_out) | {"probe_top1": round(probe(self.vit, train, held_out), 2)}


def positions(grid: int, width: int) -> Tensor:
    """Fixed positions (1, 1 + grid^2, width): zeros for CLS, then for each patch the sines and
    cosines of its row (first half of the width) and of its column, at frequencies from 1 to nearly
    1/10,000 in geometric steps (Vaswani et al., 2017)."""
    frequency = torch.exp(-math.log(10_000) * torch.arange(width // 4) / (width // 4))
    angle = torch.arange(grid)[:, None] * frequency
    line = torch.cat([angle.sin(), angle.cos()], dim=1)
    rows = line[:, None].expand(-1, grid, -1)
    table = torch.cat([rows, rows.transpose(0, 1)], dim=2).flatten(0, 1)
    return torch.cat([torch.zeros(1, width), table])[None]


def probe(
    vit: VisionTransformer, train: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor]
) -> float:
    """The accuracy in %, on held-out images, of a multinomial regression on the features that the
    harness pools from MAE's weights."""
    frozen = FrozenViT(copy.deepcopy(vit), "vpt-mae")

    @torch.no_grad()
    def pooled(images: Tensor) -> Tensor:
        read = frozen.read()
        return torch.cat(
            [frozen.pool(frozen.run(frozen.embed(x), read)[-1]) for x in images.split(500)]
        )

    features, test = pooled(train[0]), pooled(held_out[0])
    head = nn.Linear(vit.embed_dim, CLASSES).to(features.device)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(head(features), train[1])
        value.backward()
        return value

    optimizer.step(loss)  # type: ignore[arg-type]
    return 100 * (head(test).argmax(1) == held_out[1]).float().mean().item()


OBJECTIVES = {"supervised": Supervised, "mae": MaskedAutoencoder}
