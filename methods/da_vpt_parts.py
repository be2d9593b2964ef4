"""What DA-VPT is made of beside its prompts: the metric loss of an image's rows to proxies, the
clusters that classes are mapped by, and the backbone's tensors that DA-VPT+ trains."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from harness import FrozenBackbone, FrozenViT

linalg: Any = torch.linalg


def anchor(
    rows: Float[Tensor, "batch dim"],
    proxies: Float[Tensor, "proxy dim"],
    inside: Bool[Tensor, "batch proxy"],
) -> Float[Tensor, ""]:
    """A(f) of DA-VPT, Proxy-Anchor: `inside` says which images belong to which proxy."""
    similar = 5 * F.cosine_similarity(rows[:, None], proxies, dim=2)
    pulled = (-32 * (similar - 0.1)).masked_fill(~inside, -math.inf)
    pushed = (32 * (similar + 0.1)).masked_fill(inside, -math.inf)
    exponents = F.pad(torch.stack([pulled, pushed]), (0, 0, 1, 0))  # e^0 is the logarithm's 1
    return exponents.logsumexp(1).mean(1).sum()


def pooled(
    vit: FrozenBackbone, tokens: Float[Tensor, "batch row dim"]
) -> Float[Tensor, "batch dim"]:
    """With MAE's weights the mean of rows behind the checkpoint's norm."""
    return vit.vit.norm(tokens).mean(1) if vit.pooling == "vpt-mae" else vit.pool(tokens)


def clusters(
    rows: Float[Tensor, "row dim"], centres: Float[Tensor, "centre dim"]
) -> tuple[Int[Tensor, " row"], Float[Tensor, "centre dim"]]:
    """k-means by cosine from some centres, in 20 rounds at most: each row's, and the centres. One
    that loses all its rows stays where it is."""
    near = torch.empty(0)
    for _ in range(20):
        near = F.cosine_similarity(rows[:, None], centres, dim=2).argmax(1)
        own = [rows[near == index] for index in range(len(centres))]
        moved = [one.mean(0) if len(one) else old for one, old in zip(own, centres, strict=True)]
        steps: Tensor = linalg.vector_norm(torch.stack(moved) - centres, dim=1)
        if steps.sum() < 1e-4:
            break
        centres = torch.stack(moved)
    return near, centres


class ClassMap:
    """Which of `proxies` each of `classes` is mapped to: at first in turn, so that with enough of
    them each class has its own."""

    def __init__(self, classes: int, proxies: int, generator: torch.Generator | None = None):
        self.proxies = min(classes, proxies)
        self.mapped: Int[Tensor, " class"] = torch.arange(classes) % proxies
        self.order = torch.randperm(classes, generator=generator)
        """Whose means the first centres are."""
        self.centres: Tensor | None = None
        self.kept: list[tuple[Tensor, Tensor]] = []
        """Features and labels since the last update."""

    def inside(self, labels: Int[Tensor, " batch"]) -> Bool[Tensor, "batch proxy"]:
        """Which images belong to which proxy."""
        if self.mapped.device != labels.device:
            self.mapped = self.mapped.to(labels.device)
        proxies = torch.arange(self.proxies, device=labels.device)
        return self.mapped[labels][:, None] == proxies

    def next(self, update: bool) -> None:
        """Lets go of what was kept; `update`: after a look at it."""
        if update and len(self.mapped) > self.proxies:
            self.update(*(torch.cat(own) for own in zip(*self.kept, strict=True)))
        self.kept = []

    def update(self, features: Float[Tensor, "image dim"], labels: Int[Tensor, " image"]) -> None:
        """By clusters of the classes' means. Where there is but one, the map stays, and the next
        update starts anew."""
        present = torch.bincount(labels, minlength=len(self.mapped)).nonzero().flatten()
        means = torch.stack([features[labels == label].mean(0) for label in present])
        rows = F.layer_norm(means, means.shape[1:])
        if self.centres is None:
            first = self.order.to(present.device)[present].argsort()
            self.centres = rows[first[: self.proxies]]
        near, self.centres = clusters(rows, self.centres)
        if near.max() > near.min():
            self.mapped = near.new_zeros(len(self.mapped)).index_put((present,), near)
        else:
            self.centres = None


class KeyValueBias(nn.Module):
    """Trains a copy of a bias's last two thirds."""

    def __init__(self, bias: Float[Tensor, " three_dim"]):
        super().__init__()
        self.own = nn.Parameter(bias[len(bias) // 3 :].clone())

    def forward(self, bias: Float[Tensor, " three_dim"]) -> Float[Tensor, " three_dim"]:
        return torch.cat([bias[: len(bias) // 3], self.own])


def unfreeze(frozen: FrozenViT) -> None:
    """CLS, the patch embedding's bias and, of each block, the first norm and the biases of keys,
    values, output projection, fc2 and second norm: what the backbone has of them."""
    vit: Any = frozen.vit
    tensors = [vit.cls_token, vit.patch_embed.proj.bias]
    for block in vit.blocks:
        tensors += [*block.norm1.parameters(), block.norm2.bias]
        tensors += [block.attn.proj.bias, block.mlp.fc2.bias]
        qkv = block.attn.qkv
        if qkv.bias is not None:
            parametrize.register_parametrization(qkv, "bias", KeyValueBias(qkv.bias))
    for tensor in tensors:
        if tensor is not None:
            tensor.requires_grad_()
