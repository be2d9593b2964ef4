"""What methods of the prompt family share: new prompts as VPT draws them, their dropout, and how
many a search tries. Jia et al., ECCV 2022, arXiv 2203.12119, and its released code."""

import math
from typing import Any

import torch
from jaxtyping import Float
from optuna.distributions import CategoricalDistribution, IntDistribution
from torch import Tensor, nn

from harness.backbones.frozen import FrozenBackbone, Read

PROMPT_LENGTHS = CategoricalDistribution((1, 5, 10, 50, 100, 200))
"""The lengths that VPT's protocol searches."""
ANY_LENGTH = IntDistribution(1, 10_000)
"""A protocol may search others."""


PROMPT_DROPOUT = 0.1
"""Of methods with new prompts at every block: VPT-Deep's in its released commands and its
descendants'. VPT-Shallow has none there."""


def new_prompts(vit: FrozenBackbone, *shape: int) -> nn.Parameter:
    """Learnable prompts of `shape` + (dim,), uniform in (-v, v) with v = sqrt(6 / (3 * patch_h *
    patch_w + dim)), as VPT's code does."""
    height, width = vit.patch_size
    bound = math.sqrt(6 / (3 * height * width + vit.dim))
    return nn.Parameter(torch.empty(*shape, vit.dim).uniform_(-bound, bound))


def new_kv(vit: FrozenBackbone, *shape: int) -> nn.Parameter:
    """Learnable keys or values of `shape` + (head, n, head_dim), `shape` ending in n, as a block's
    `kv` takes them: Kaiming uniform in (-v, v) with v = sqrt(6 / (n * head_dim)), as E2VPT's code
    draws them."""
    *leading, count = shape
    attn: Any = vit.vit.blocks[0].attn
    bound = math.sqrt(6 / (count * attn.head_dim))
    drawn = torch.empty(*leading, attn.num_heads, count, attn.head_dim).uniform_(-bound, bound)
    return nn.Parameter(drawn)


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
