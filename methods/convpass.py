"""Convpass: convolutional bypasses beside attention and MLP. Jie and Deng, 2022, arXiv 2207.07039,
section 3.

    x' = x + MHSA(LN(x)) + s B(LN(x)),   x'' = x' + MLP(LN(x')) + s B'(LN(x'))
    B(z) = W_up Q(conv3x3(Q(W_down z + b_down))) + b_up,   Q(v) = v sigmoid(1.702 v)

The convolution has padding 1 and runs over the grid of image tokens; CLS is an image of one pixel,
so that only the kernel's centre acts on it. Convpass-attn (`attention_only`) has the first alone.
W_down starts xavier uniform, W_up at 0, biases at 0; the kernel as the identity (1 at its centre
from each channel to itself), or with `xavier` xavier uniform.

As released: a tenth of what the convolution's Q gives is dropped in training; under drop-path a
bypass is dropped apart from its sublayer. s and `xavier` are chosen for each task, among the values
searched here, at h = 8.

Ours: the released grid of 14 x 14 is the backbone's own, register tokens are treated as CLS is, and
layer scale (DINOv2) isn't on a bypass.

Equal to the released code (JieShibo/PETL-ViT, commit 026e4f1), in training and with
`attention_only` too: logits to 1e-14, gradients to 1e-12 (1e-14 of their size), on two blocks of
ViT-B's width in float64.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harness import FrozenViT
from methods.adapter_parts import ANY_SCALE, Adapter


def quick_gelu(tokens: Tensor) -> Tensor:
    return tokens * torch.sigmoid(1.702 * tokens)


class Bypass(nn.Module):
    """s B(z). Of rows that are fewer than a grid has, each is an image of one pixel; of more, those
    before the last grid."""

    def __init__(
        self, vit: FrozenViT, hidden: int, scale: float, dropout: float, xavier: bool
    ) -> None:
        super().__init__()
        self.grid, self.scale = vit.grid, scale
        self.down, self.up = nn.Linear(vit.dim, hidden), nn.Linear(hidden, vit.dim)
        self.conv, self.dropout = nn.Conv2d(hidden, hidden, 3, padding=1), nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.down.weight)
        if xavier:
            nn.init.xavier_uniform_(self.conv.weight)
        else:
            nn.init.dirac_(self.conv.weight)
        nn.init.zeros_(self.up.weight)
        part: Any
        for part in (self.down, self.conv, self.up):
            nn.init.zeros_(part.bias)

    def forward(self, rows: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch row dim"]:
        hidden = quick_gelu(self.down(rows))
        apart = hidden.shape[1] - self.grid[0] * self.grid[1]
        if apart < 0:
            mixed = self._alone(hidden)
        else:
            image = hidden[:, apart:].transpose(1, 2).reshape(len(rows), -1, *self.grid)
            seen = self.conv(image).flatten(2).transpose(1, 2)
            mixed = torch.cat([self._alone(hidden[:, :apart]), seen], dim=1)
        return self.scale * self.up(self.dropout(quick_gelu(mixed)))

    def _alone(self, hidden: Tensor) -> Tensor:
        """What the convolution makes of images of one pixel."""
        return nn.functional.linear(hidden, self.conv.weight[:, :, 1, 1], self.conv.bias)


class Convpass(Adapter):
    """Bypasses of `bottleneck` channels."""

    name = "convpass"
    year = 2022
    summary = "Convpass: convolutions beside attention and MLP (arXiv 2207.07039)"
    note = (
        "convpass's published numbers chose scale and first kernels for each task, and the best"
        " epoch on test."
    )
    search_space = {
        "scale": (0.01, 0.1, 1.0, 10.0, 100.0),
        "xavier": (True, False),
        "base_lr": (0.004,),
    }
    allows = {"scale": ANY_SCALE}
    toggles = ("attention_only", "xavier")

    def __init__(
        self,
        vit: FrozenViT,
        bottleneck: int = 8,
        scale: float = 1.0,
        dropout: float = 0.1,
        xavier: bool = False,
        attention_only: bool = False,
    ):
        self.check(locals())
        super().__init__(vit)
        self.beside_attention, self.beside_mlp = (
            nn.ModuleList(Bypass(vit, bottleneck, scale, dropout, xavier) for _ in range(blocks))
            for blocks in (vit.depth, 0 if attention_only else vit.depth)
        )

    def block(self, index: int, tokens: Tensor, rows: slice) -> Tensor:
        block: Any = self.vit.vit.blocks[index]
        bypass = self.beside_attention[index](block.norm1(tokens))[:, rows]
        stream = self.vit.attend(index, tokens, rows=rows) + block.drop_path1(bypass)
        out = self.vit.feed(index, stream)
        if not self.beside_mlp:
            return out
        return out + block.drop_path2(self.beside_mlp[index](block.norm2(stream)))
