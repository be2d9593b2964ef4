"""Visual Prompt Tuning, shallow and deep: Jia et al., ECCV 2022, arXiv 2203.12119, section 3.2.

With E_l the image tokens and x_l the CLS token after block L_l, P the learnable prompts of width d:

    shallow (eq. 4, 5)    [x_1, Z_1, E_1] = L_1([x_0, P, E_0]),  [x_i, Z_i, E_i] = L_i([x_{i-1},
                          Z_{i-1}, E_{i-1}])
    deep    (eq. 7)       [x_i, _,   E_i] = L_i([x_{i-1}, P_{i-1}, E_{i-1}])

Equal to the released code (commit 4410440): logits to 1e-13.
"""

import torch
from torch import Tensor

from harness import (
    ANY_LENGTH,
    PROMPT_DROPOUT,
    PROMPT_LENGTHS,
    FrozenBackbone,
    Method,
    PromptDropout,
    Read,
    new_prompts,
)


class VPT(Method):
    """VPT-Shallow: `prompts` tokens join the image at the first block and travel through all of
    them."""

    name = "vpt"
    family = "prompts"
    year = 2022
    summary = "VPT-Shallow: prompts that enter before the first block (arXiv 2203.12119)"
    needs = ("prompts",)
    search_space = {"prompts": PROMPT_LENGTHS}
    allows = {"prompts": ANY_LENGTH}

    def __init__(self, vit: FrozenBackbone, prompts: int = 10, dropout: float = 0.0):
        super().__init__(vit)
        self.prompts = new_prompts(vit, prompts)
        self.dropout = PromptDropout(dropout)

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        prompts = self.dropout(self.prompts, len(images)).expand(len(images), -1, -1)
        return self.vit.run(torch.cat([self.vit.embed(images), prompts], dim=1), read)


class VPTDeep(Method):
    """VPT-Deep: `prompts` new tokens at every block; what a block makes of them is dropped."""

    name = "vpt-deep"
    family = "prompts"
    year = 2022
    version = "2"
    summary = "VPT-Deep: fresh prompts at every block (arXiv 2203.12119)"
    needs = ("prompts",)
    search_space = {"prompts": PROMPT_LENGTHS}
    allows = {"prompts": ANY_LENGTH}

    def __init__(self, vit: FrozenBackbone, prompts: int = 10, dropout: float = PROMPT_DROPOUT):
        super().__init__(vit)
        self.prompts = new_prompts(vit, vit.depth, prompts)
        self.dropout = PromptDropout(dropout)

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        return self.vit.run(
            self.vit.embed(images), read, [self.dropout(p, len(images)) for p in self.prompts]
        )
