"""VAPT, prompts that are functions of the image: Le et al., "Revisit Visual Prompt Tuning: The
Expressiveness of Prompt Experts", ICLR 2026, arXiv 2501.18936, section 4.

The first block has N learnable prompts P, as VPT. Every other block l makes its prompts of the
image tokens E_l before it, a channel of which is a map of the grid:

    X_l = LN_l(E_l),   Y_l[c] = X_l[c] * K_l        a K x K kernel for all channels, not padded
    U_l[j, c] = sum_p W_l[j, p] Y_l[c, p] + b_l[j]        over positions; W_l, b_l start at zero
    P_l = U_l + W_2 relu(W_1 U_l)        one bottleneck of width h for all blocks, no biases

    [x_{l+1}, _, E_{l+1}] = L_l([x_l, P_l, E_l])

Both maps over positions are linear, so K_l is folded into W_l and no convolved image is kept.

As released: the norms' eps is 1e-5; channels of Y_l are dropped whole, at 0.1, W_1's outputs behind
the ReLU at 0.1, and P at `dropout`. At the start all P_l but the first are zero, which is not the
frozen backbone: block l's own norm makes a constant key and value of them. There only W_l has a
gradient (b_l, the same in all channels, is taken out by that norm), and a large one: the norm of a
zero row multiplies it by 1 / sqrt(eps). The paper speaks of a token-wise projection of all
positions; the kernel comes from the code. The released grid of 14 x 14 is the backbone's own here,
and register tokens are left out as CLS is. Searched are the values of the released example and
their neighbours: those of the paper's tasks aren't in the release.

Equal to the released code (commit ff3e65b): logits to 1e-14, gradients to 1e-14, on a small ViT in
float64.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from harness import ANY_LENGTH, PROMPT_DROPOUT, FrozenViT, Method, PromptDropout, Read, new_prompts


class Projector(nn.Module):
    """Image tokens of one block -> U_l, (batch, prompt, dim)."""

    def __init__(self, vit: FrozenViT, prompts: int, kernel: int):
        super().__init__()
        height, width = vit.grid
        self.map = (height - kernel + 1, width - kernel + 1)
        self.norm = nn.LayerNorm(vit.dim)
        self.kernel = nn.Parameter(torch.randn(kernel, kernel))
        self.weight = nn.Parameter(torch.zeros(prompts, self.map[0] * self.map[1]))
        self.bias = nn.Parameter(torch.zeros(prompts))

    def forward(self, image: Float[Tensor, "batch image dim"]) -> Float[Tensor, "batch prompt dim"]:
        maps, last = torch.unflatten(self.weight, 1, self.map), len(self.kernel) - 1
        places = [(i, j) for i in range(last + 1) for j in range(last + 1)]
        shifted = [self.kernel[i, j] * F.pad(maps, (j, last - j, i, last - i)) for i, j in places]
        folded = torch.stack(shifted).sum(0).flatten(1)
        rows = folded @ self.norm(image)
        if self.training:
            rows = F.dropout(torch.ones_like(rows[:, :1]), 0.1) * rows
        return rows + self.bias[:, None]


class VAPT(Method):
    """VPT-Deep whose prompts, but for the first block's, a projector makes of the image tokens."""

    name = "vapt"
    family = "prompts"
    year = 2026
    summary = "VAPT: prompts of each block made of its image tokens (arXiv 2501.18936)"
    note = (
        "vapt's published numbers chose the number of prompts, kernel and bottleneck for each task,"
        " from values that aren't released."
    )
    needs = ("column", "prompts")
    search_space = {"prompts": (5, 10, 20), "hidden": (8, 16), "kernel": (1, 2, 3)}
    allows = {"prompts": ANY_LENGTH}

    def __init__(
        self,
        vit: FrozenViT,
        prompts: int = 10,
        hidden: int = 8,
        kernel: int = 2,
        dropout: float = PROMPT_DROPOUT,
    ):
        super().__init__(vit)
        if hidden < 1 or not 1 <= kernel <= min(vit.grid):
            raise ValueError(
                f"vapt's hidden is at least 1, and its kernel from 1 to {min(vit.grid)}, the side"
                f" of the backbone's image tokens: write vapt(hidden=8,kernel={min(2, *vit.grid)})"
            )
        self.prompts = new_prompts(vit, prompts)
        self.dropout = PromptDropout(dropout)
        self.projectors = nn.ModuleList(
            Projector(vit, prompts, kernel) for _ in range(vit.depth - 1)
        )
        self.bottleneck = nn.Sequential(
            nn.Linear(vit.dim, hidden, bias=False),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(hidden, vit.dim, bias=False),
        )

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        vit, selected = self.vit, list[Tensor]()
        tokens = vit.embed(images)
        for index in range(read.blocks[-1] + 1):
            prompts = self.made(index, tokens)
            tokens = vit.block(
                index, *vit.place(index, tokens, prompts, read), vit.rows(index, read)
            )
            selected += vit.select(index, tokens, read)
        return selected

    def made(self, index: int, tokens: Float[Tensor, "batch token dim"]) -> Tensor:
        """Prompts of block `index`, given the tokens before it."""
        if index == 0:
            return self.dropout(self.prompts, len(tokens))
        image = tokens[:, self.vit.prefix : self.vit.prefix + self.vit.image_tokens]
        rows = self.projectors[index - 1](image)
        return rows + self.bottleneck(rows)
