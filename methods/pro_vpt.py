"""ProVP's prompts, with a linear head: Xu et al., "Progressive Visual Prompt Learning with
Contrastive Feature Re-formation", IJCV 2024, arXiv 2304.08386.

With P_l the learnable prompts of block L_l, and O_l what it makes of those that enter it:

    [x_1, O_0, E_1] = L_0([x_0, P_0, E_0])
    [x_l+1, O_l, E_l+1] = L_l([x_l, a O_{l-1} + (1 - a) P_l, E_l])

a is 0.1 in the paper and 0.01 in the released code, which is our default; a = 0 is VPT-Deep. The
code draws prompts for patches of 14 whatever the backbone's are, ours for its own; with fewer than
5 prompts it overwrites image tokens, ours doesn't. ProVP's classifier is CLIP's text encoder, and
its second loss ties features to those without prompts: both are left out.

Equal to the released code (MCG-NJU/ProVP, commit 837b8fb) on a small CLIP: features to 2e-15,
gradients to 4e-15.
"""

import torch
from torch import Tensor

from harness import ANY_LENGTH, FrozenViT, Method, PromptDropout, Read, new_prompts


class ProVPT(Method):
    """Prompts at every block, each mixed with a share of what the block before made of its own."""

    name = "pro-vpt"
    family = "prompts"
    year = 2024
    summary = "ProVP's prompts, which pass a share on to the next block's (arXiv 2304.08386)"
    note = "pro-vpt has ProVP's prompts alone: its published numbers are of CLIP with text."
    needs = ("column", "prompts")
    search_space = {"prompts": (8, 16, 50)}
    allows = {"prompts": ANY_LENGTH}

    def __init__(
        self, vit: FrozenViT, prompts: int = 16, share: float = 0.01, dropout: float = 0.0
    ):
        if not 0 <= share <= 1:
            raise ValueError("pro-vpt's share is a number from 0 to 1, such as pro-vpt(share=0.1)")
        super().__init__(vit)
        self.share = share
        self.prompts = new_prompts(vit, vit.depth, prompts)
        self.dropout = PromptDropout(dropout)

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        vit, tokens, selected = self.vit, self.vit.embed(images), list[Tensor]()
        own = tokens.shape[1]
        for index in range(read.blocks[-1] + 1):
            prompts = self.dropout(self.prompts[index], len(images)).expand(len(images), -1, -1)
            if index:
                prompts = self.share * tokens[:, own:] + (1 - self.share) * prompts
            tokens = torch.cat([tokens[:, :own], prompts], dim=1)
            tokens = vit.block(index, tokens, rows=vit.rows(index, read))
            selected += vit.select(index, tokens, read)
        return selected
