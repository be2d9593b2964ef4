"""What methods of the prompt family share: new prompts as VPT draws them, their dropout, and how
many a search tries. Jia et al., ECCV 2022, arXiv 2203.12119, and its released code."""

import math
from typing import Any, overload

import torch
from jaxtyping import Float
from optuna.distributions import CategoricalDistribution, IntDistribution
from torch import Tensor, nn

from harness.backbones.frozen import FrozenBackbone, Read
from harness.backbones.vit import FrozenViT

PROMPT_LENGTHS = CategoricalDistribution((1, 5, 10, 50, 100, 200))
"""The lengths that VPT's protocol searches."""
ANY_LENGTH = IntDistribution(1, 10_000)
"""A protocol may search others."""


PROMPT_DROPOUT = 0.1
"""Of methods with new prompts at every block: VPT-Deep's in its released commands and its
descendants'. VPT-Shallow has none there."""


@overload
def new_prompts(vit: FrozenViT, *shape: int) -> nn.Parameter: ...
@overload
def new_prompts(vit: FrozenBackbone, *shape: int) -> Any: ...
def new_prompts(vit: FrozenBackbone, *shape: int) -> nn.Parameter | nn.ParameterList:
    """Learnable prompts of `shape` + (width,), uniform in (-v, v) with v = sqrt(6 / (3 * patch_h *
    patch_w + width)), as VPT's code does.

    Of a backbone whose blocks differ in width, `new_prompts(vit, count)` are the first block's, and
    `new_prompts(vit, vit.depth, count)` a list of one tensor a block, each in its block's width and
    all with the first one's v.
    """
    height, width = vit.patch_size
    bound = math.sqrt(6 / (3 * height * width + vit.widths[0]))

    def drawn(*shape: int) -> nn.Parameter:
        return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))

    if len(shape) == 1 or len(set(vit.widths)) == 1:
        return drawn(*shape, vit.widths[0])
    if shape[0] != vit.depth:
        raise ValueError(
            f"the backbone's {vit.depth} blocks differ in width: prompts of {shape[0]} blocks have"
            " none"
        )
    return nn.ParameterList([drawn(*shape[1:], own) for own in vit.widths])


@overload
def new_kv(vit: FrozenViT, *shape: int) -> nn.Parameter: ...
@overload
def new_kv(vit: FrozenBackbone, *shape: int) -> Any: ...
def new_kv(vit: FrozenBackbone, *shape: int) -> nn.Parameter | nn.ParameterList:
    """Learnable keys or values of `shape` + (head, n, head_dim), `shape` ending in n, as a block's
    `kv` takes them: Kaiming uniform in (-v, v) with v = sqrt(6 / (n * head_dim)), as E2VPT's code
    draws them.

    Of a backbone whose blocks differ in heads, `new_kv(vit, vit.depth, n)` are a list of one tensor
    a block.
    """
    *leading, count = shape
    attentions: list[Any] = [block.attn for block in vit.blocks]
    sizes = [
        (attn.num_heads, getattr(attn, "head_dim", attn.proj.in_features // attn.num_heads))
        for attn in attentions
    ]

    def drawn(heads: int, head_dim: int, *leading: int) -> nn.Parameter:
        bound = math.sqrt(6 / (count * head_dim))
        return nn.Parameter(torch.empty(*leading, heads, count, head_dim).uniform_(-bound, bound))

    if len(set(sizes)) == 1:
        return drawn(*sizes[0], *leading)
    if leading[:1] != [vit.depth]:
        raise ValueError(f"keys and values of {leading} blocks, where {vit.depth} differ in heads")
    return nn.ParameterList([drawn(*own, *leading[1:]) for own in sizes])


def run_prompts(
    vit: FrozenBackbone,
    images: Float[Tensor, "batch channel height width"],
    read: Read,
    prompts: Float[Tensor, "block prompt dim"],
    deep: bool,
) -> list[Float[Tensor, "batch row dim"]]:
    """VPT's two forms without dropout: `prompts[l]` at block l, whose outputs are dropped; or, not
    `deep`, those of the one block, which travel through all."""
    tokens = vit.embed(images)
    if deep:
        return vit.run(tokens, read, list(prompts))
    travelling = prompts.expand(len(images), -1, -1)
    return vit.run(torch.cat([tokens, travelling], dim=1), read)


class PromptDropout(nn.Module):
    """Dropout on prompts, a mask of its own for every sample: (prompt, dim) -> (batch, prompt,
    dim). Without dropout: as it came."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, prompts: Float[Tensor, "prompt dim"], batch: int) -> Tensor:
        if self.rate == 0 or not self.training:
            return prompts
        return nn.functional.dropout(prompts.expand(batch, -1, -1), self.rate)
