"""iVPT, cross-layer dynamic connections for prompts: our reading of arXiv 2404.05207 (2024).

CDC and DA agree with the first author's compiled segmentation code; which image tokens AR picks is
our choice. That code is public as .pyc files alone (github.com/weeknan/ProPETL, commit 6233001) and
names no paper; the paper's equations and tables were not at hand.

With P_l the learnable prompts of block l, E_l the image tokens before it, and drop(.) prompt
dropout:

    base  VPT-Deep: block l sees [CLS, P~_l, E_l], and its outputs at prompt positions are dropped
    CDC   P~_0 = drop(P_0),  P~_l = drop(P_l) + A_l(drop'(P_{l-1}))          cross-layer dynamic
          connection
    DA    A_l(Q)[j] = sum_k W_l[j, k] Q[k] + b_l[j]; without DA, A_l is the identity      dynamic
          aggregation
    AR    E_l[i_r] += R_l[r] for the k image tokens i_1, ..., i_k that CLS attends to most in block
          l-1    attentive reinforcement

drop'(.) has a mask of its own: the link drops P_{l-1} anew. With k = "all" R_l[m] is added to image
token m, as in that code: a vector for each token and block. R_l starts at zero, so that step 0
equals CDC + DA. The choice of i_r has no gradient. All three off is VPT-Deep.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from harness import (
    ANY_LENGTH,
    PROMPT_DROPOUT,
    PROMPT_LENGTHS,
    FrozenViT,
    Method,
    PromptDropout,
    Read,
    new_prompts,
)


class IVPT(Method):
    """VPT-Deep whose blocks share prompts (`cdc`, `da`) and reinforce the `k` most salient image
    tokens, or all of them (`ar`).

    Other readings, none of which the first author's compiled code supports: `cdc_source` "output"
    (the previous block's outputs at the prompts) and "recursive" (P~_{l-1}) contradict it, where
    the default "input" is P_{l-1}; `da="gate"` (a sigmoid of CLS, one value a prompt, in place of
    the map over tokens; False is the identity) has nothing to rest on; `ar_vector="prompt"` (the
    mean of P~_l, weighted by the token's scaled dot-product attention to it, in place of R_l)
    contradicts it.
    """

    name = "ivpt"
    family = "prompts"
    year = 2024
    summary = (
        "iVPT: VPT-Deep with cross-layer connections and reinforced image tokens (our reading of"
        " arXiv 2404.05207)"
    )
    version = "2"
    note = (
        "ivpt is our reading of arXiv 2404.05207: CDC and DA agree with the first author's compiled"
        " segmentation code; which image tokens AR picks is our choice. Not the paper's numbers."
    )
    needs = ("column", "prompts")
    search_space = {"prompts": PROMPT_LENGTHS}
    allows = {"prompts": ANY_LENGTH}
    toggles = ("cdc", "da", "ar")
    rounding = 4.0  # AR's choice of tokens is by rank: benchmarks/rounding.py

    def __init__(
        self,
        vit: FrozenViT,
        prompts: int = 10,
        dropout: float = PROMPT_DROPOUT,
        cdc: bool = True,
        da: bool | Literal["gate"] = True,
        ar: bool = True,
        k: int | Literal["all"] = 10,
        cdc_source: Literal["input", "output", "recursive"] = "input",
        ar_vector: Literal["learned", "prompt"] = "learned",
    ):
        self.check(locals())
        super().__init__(vit)
        if ar and k != "all" and vit.vit.cls_token is None:
            raise ValueError(
                "ivpt's AR reads CLS attention, and this backbone has no CLS token: write"
                " ivpt(ar=false) or ivpt(k=all)"
            )
        if ar and k != "all" and k > vit.image_tokens:
            raise ValueError(
                f"ivpt's k={k} is more than the backbone's {vit.image_tokens} image tokens"
            )
        self.cdc, self.da, self.ar, self.k, self.cdc_source, self.ar_vector = (
            cdc,
            da,
            ar,
            k,
            cdc_source,
            ar_vector,
        )
        self.prompts = new_prompts(vit, vit.depth, prompts)
        self.dropout = PromptDropout(dropout)
        links = vit.depth - 1
        if da == "gate":
            self.gates = nn.ModuleList(nn.Linear(vit.dim, prompts) for _ in range(links))
        elif da:
            self.aggregations = nn.ModuleList(nn.Linear(prompts, prompts) for _ in range(links))
        if ar and ar_vector == "learned":
            self.reinforcements = nn.Parameter(
                torch.zeros(links, vit.image_tokens if k == "all" else k, vit.dim)
            )

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        super().check(arguments)
        if arguments.get("da", True) and not arguments.get("cdc", True):
            raise ValueError(
                "ivpt's DA aggregates what CDC shares: without CDC it has nothing to do. Write"
                " ivpt(cdc=false,da=false)"
            )
        k = arguments.get("k", 10)
        if k != "all" and (type(k) is not int or k < 1):
            raise ValueError("ivpt's k is a number of image tokens, from 1 on, or all")

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        vit = self.vit
        selected: list[Tensor] = []
        tokens = vit.embed(images)
        reads_attention = self.ar and self.k != "all"
        # of the block before; the first block has none and asks for none
        shared, saliency = tokens, None
        for index in range(read.blocks[-1] + 1):
            own = self.dropout(self.prompts[index], len(images))
            if index > 0 and self.cdc and self.cdc_source == "input":
                shared = self.dropout(self.prompts[index - 1], len(images))
            prompts = (
                own if index == 0 or not self.cdc else own + self.aggregate(index, shared, tokens)
            )
            if self.ar and index > 0:
                tokens = self.reinforce(index, tokens, prompts, saliency)
            rows = vit.rows(index, read)
            if self.cdc and self.cdc_source == "output" and index < read.blocks[-1]:
                count = tokens.shape[1]
                tokens = torch.cat([tokens, prompts.expand(len(tokens), -1, -1)], dim=1)
                if reads_attention:
                    tokens, saliency = vit.block_and_saliency(index, tokens)
                else:
                    tokens = vit.block(index, tokens)
                tokens, shared = tokens[:, :count], tokens[:, count:]
            else:
                shared = prompts  # for "recursive"
                if reads_attention and index < read.blocks[-1]:
                    tokens, saliency = vit.block_and_saliency(index, tokens, prompts, rows)
                else:
                    tokens = vit.block(index, *vit.place(index, tokens, prompts, read), rows)
            selected += vit.select(index, tokens, read)
        return selected

    def aggregate(self, index: int, shared: Tensor, tokens: Tensor) -> Tensor:
        """A_l: what block `index` takes of the prompts that block `index` - 1 shares. (..., prompt,
        dim) -> the same."""
        if self.da == "gate":
            return torch.sigmoid(self.gates[index - 1](tokens[:, 0]))[:, :, None] * shared
        if self.da:
            return self.aggregations[index - 1](shared.transpose(-1, -2)).transpose(-1, -2)
        return shared

    def reinforce(
        self,
        index: int,
        tokens: Float[Tensor, "batch token dim"],
        prompts: Tensor,
        saliency: Float[Tensor, "batch image"] | None,
    ) -> Float[Tensor, "batch token dim"]:
        """Adds R_l[r] to the image token of rank r by descending saliency, ties to the earlier one;
        with k = "all", which needs no saliency, by its place."""
        if saliency is None:
            first, last = self.vit.prefix, self.vit.prefix + self.vit.image_tokens
            added = self.vectors(index, tokens[:, first:last], prompts)
            return tokens + nn.functional.pad(added, (0, 0, first, tokens.shape[1] - last))
        ranked: Int[Tensor, "batch k"] = (
            saliency.argsort(dim=1, descending=True, stable=True)[:, : self.k] + self.vit.prefix
        )
        places = ranked[:, :, None].expand(-1, -1, tokens.shape[2])
        return tokens.scatter_add(
            1, places, self.vectors(index, tokens.gather(1, places), prompts).to(tokens.dtype)
        )

    def vectors(
        self, index: int, salient: Float[Tensor, "batch k dim"], prompts: Tensor
    ) -> Float[Tensor, "batch k dim"]:
        """What is added to the salient tokens, in their order."""
        if self.ar_vector == "learned":
            return self.reinforcements[index - 1].expand(len(salient), -1, -1)
        prompts = prompts.expand(len(salient), -1, -1)
        return nn.functional.scaled_dot_product_attention(salient, prompts, prompts)
