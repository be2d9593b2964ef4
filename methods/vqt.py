"""VQT: Tu, Mai and Chao, "Visual Query Tuning: Towards Effective Usage of Intermediate
Representations for Parameter and Memory Efficient Transfer Learning", CVPR 2023, arXiv 2212.03220.

With Z_{l-1} the rows that enter block l of the frozen model, and P_l (query, d) learnable:

    Z_l = L_l(Z_{l-1})                             the frozen model's own
    O_l = L_l(drop(P_l) | Z_{l-1})                 rows that ask and aren't asked: queries from P_l,
                                                   keys and values from Z_{l-1}; residual and MLP as
                                                   for any row
    feature = [F(pool(Z_L)), F(O_1), ..., F(O_L)]  a linear head reads it; F is the L2 norm of all
                                                   the values of a part, F(x) = x / |x|

As released: O_l doesn't see the last norm; dropout is 0.1; F can be left out (`normalize`), and O_l
averaged over its queries (`average`). With MAE's weights the backbone's pooling takes CLS' place.

Ours: AdamW, whose weight decay is decoupled, for Adam. The second training on the share of features
with the largest head weights isn't offered. In training the released supervised ViT drops a tenth
of the embedded rows' values too, which stays off here.

Equal to the released code (commit 9bca87e), with dropout, for each `normalize` and `average`:
logits to 1e-13, gradients to 1e-14.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from harness import ANY_LENGTH, PROMPT_DROPOUT, FrozenViT, Method, PromptDropout, Read, new_prompts


class VQT(Method):
    """`queries` learnable rows in each block that sum up what it holds, for a wide linear head."""

    name = "vqt"
    family = "prompts"
    year = 2023
    summary = "VQT: learnable queries read every block of the frozen model (arXiv 2212.03220)"
    note = (
        "vqt's head reads every block, so it has more values than the method: see both. The"
        " published numbers are of a ViT trained on ImageNet-1k, with queries chosen by task and"
        " some of the features."
    )
    needs = ("column", "queries")
    search_space = {"queries": (1, 10, 20), "base_lr": (1.0, 0.5, 0.25, 0.1, 0.05)}
    allows = {"queries": ANY_LENGTH}
    optimizer = {"optimizer": "adamw"}
    toggles = ("normalize", "average")
    refuses = {"segmentation": "its features are of whole images, its image rows the frozen ones"}

    def __init__(
        self,
        vit: FrozenViT,
        queries: int = 1,
        normalize: bool = True,
        average: bool = False,
        dropout: float = PROMPT_DROPOUT,
    ):
        super().__init__(vit)
        self.queries = new_prompts(vit, vit.depth, queries)
        self.dropout = PromptDropout(dropout)
        self.normalize, self.average = normalize, average

    @property
    def width(self) -> int:
        depth, queries, dim = self.queries.shape
        return dim * (1 + depth * (1 if self.average else queries))

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        """Behind the rows of the last block, those of the queries: of the first block first."""
        tokens, selected, asked = self.vit.embed(images), list[Tensor](), list[Tensor]()
        for index in range(read.blocks[-1] + 1):
            queries = self.dropout(self.queries[index], len(images))
            rows = self.vit.rows(index, read)
            tokens, answers = self.vit.block_and_queries(index, tokens, queries, rows=rows)
            asked.append(answers)
            selected += self.vit.select(index, tokens, read)
        selected[-1] = torch.cat([selected[-1], *asked], dim=1)
        return selected

    def pool(self, tokens: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch width"]:
        depth, queries, _ = self.queries.shape
        first = tokens.shape[1] - depth * queries
        asked = torch.unflatten(tokens[:, first:], 1, (depth, queries))
        answers = asked.mean(2) if self.average else asked.flatten(2)
        parts = [self.vit.pool(tokens[:, :first]), *answers.unbind(1)]
        return torch.cat([F.normalize(one) if self.normalize else one for one in parts], dim=1)
