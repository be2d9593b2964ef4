"""iVPT, cross-layer dynamic connections for prompts: arXiv 2404.05207 (2024). This is our reading of its abstract, not its authors' code.

With P_l the learnable prompts of block l, E_l the image tokens before it, and drop(.) prompt dropout:

    base  VPT-Deep: block l sees [CLS, P~_l, E_l], and its outputs at prompt positions are dropped
    CDC   P~_0 = drop(P_0),  P~_l = drop(P_l) + A_l(drop(P_{l-1}))           cross-layer dynamic connection
    DA    A_l(Q)[j] = sum_k W_l[j, k] Q[k] + b_l[j]; without DA, A_l is the identity      dynamic aggregation
    AR    E_l[i_r] += R_l[r] for the k image tokens i_1, ..., i_k that CLS attends to most in block l-1    attentive reinforcement

R_l starts at zero, so that step 0 equals CDC + DA. The choice of i_r has no gradient. All three off is VPT-Deep.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from methods.base import Method
from methods.vit import FrozenViT, Read
from methods.vpt import ANY_LENGTH, PROMPT_LENGTHS, PromptDropout, new_prompts


class IVPT(Method):
    """VPT-Deep whose blocks share prompts (`cdc`, `da`) and reinforce the `k` most salient image tokens (`ar`).

    Other readings: `cdc_source` "input" (default), "output" (the previous block's outputs at the prompts) or "recursive" (P~_{l-1});
    `da` True (a map over tokens), False (identity) or "gate" (a sigmoid of CLS, one value a prompt); `ar_vector` "learned" (R_l) or
    "prompt" (the mean of P~_l, weighted by the salient token's scaled dot-product attention to it).
    """

    name = "ivpt"
    summary = "iVPT: VPT-Deep with cross-layer connections and reinforced image tokens (our reading of arXiv 2404.05207)"
    note = "ivpt is this project's reading of arXiv 2404.05207 (from its abstract); not the paper's numbers."
    search_space = {"prompts": PROMPT_LENGTHS}
    allows = {"prompts": ANY_LENGTH}
    toggles = ("cdc", "da", "ar")

    def __init__(
        self,
        vit: FrozenViT,
        prompts: int = 10,
        dropout: float = 0.0,
        cdc: bool = True,
        da: bool | Literal["gate"] = True,
        ar: bool = True,
        k: int = 10,
        cdc_source: Literal["input", "output", "recursive"] = "input",
        ar_vector: Literal["learned", "prompt"] = "learned",
    ):
        self.check(locals())
        super().__init__(vit)
        if ar and vit.vit.cls_token is None:
            raise ValueError("ivpt's AR reads CLS attention, and this backbone has no CLS token: write ivpt(ar=false)")
        if ar and k > vit.image_tokens:
            raise ValueError(f"ivpt's k={k} is more than the backbone's {vit.image_tokens} image tokens")
        self.cdc, self.da, self.ar, self.k, self.cdc_source, self.ar_vector = cdc, da, ar, k, cdc_source, ar_vector
        self.prompts = new_prompts(vit, vit.depth, prompts)
        self.dropout = PromptDropout(dropout)
        links = vit.depth - 1
        if da == "gate":
            self.gates = nn.ModuleList(nn.Linear(vit.dim, prompts) for _ in range(links))
        elif da:
            self.aggregations = nn.ModuleList(nn.Linear(prompts, prompts) for _ in range(links))
        if ar and ar_vector == "learned":
            self.reinforcements = nn.Parameter(torch.zeros(links, k, vit.dim))

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        if arguments.get("da", True) and not arguments.get("cdc", True):
            raise ValueError("ivpt's DA aggregates what CDC shares: without CDC it has nothing to do. Write ivpt(cdc=false,da=false)")
        for name, choices in {
            "da": (True, False, "gate"),
            "cdc_source": ("input", "output", "recursive"),
            "ar_vector": ("learned", "prompt"),
        }.items():
            if name in arguments and arguments[name] not in choices:
                raise ValueError(f"ivpt's {name} is one of {', '.join(map(str, choices))}")

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        vit, asked = self.vit, []
        tokens = vit.embed(images)
        shared = saliency = tokens  # of the block before; the first block has none and asks for none
        for index in range(read.blocks[-1] + 1):
            own = self.dropout(self.prompts[index], len(images))
            prompts = own if index == 0 or not self.cdc else own + self.aggregate(index, shared, tokens)
            if self.ar and index > 0:
                tokens = self.reinforce(index, tokens, prompts, saliency)
            rows = vit.rows(index, read)
            if self.cdc and self.cdc_source == "output" and index < read.blocks[-1]:
                count = tokens.shape[1]
                tokens = torch.cat([tokens, prompts.expand(len(tokens), -1, -1)], dim=1)
                tokens, saliency = vit.block_and_saliency(index, tokens)
                tokens, shared = tokens[:, :count], tokens[:, count:]
            else:
                shared = prompts if self.cdc_source == "recursive" else own
                if self.ar and index < read.blocks[-1]:
                    tokens, saliency = vit.block_and_saliency(index, tokens, prompts, rows)
                else:
                    tokens = vit.block(index, *vit.placed(index, tokens, prompts, read), rows)
            asked += vit.asked(index, tokens, read)
        return asked

    def aggregate(self, index: int, shared: Tensor, tokens: Tensor) -> Tensor:
        """A_l: what block `index` takes of the prompts that block `index` - 1 shares. (..., prompt, dim) -> the same."""
        if self.da == "gate":
            return torch.sigmoid(self.gates[index - 1](tokens[:, 0]))[:, :, None] * shared
        if self.da:
            return self.aggregations[index - 1](shared.transpose(-1, -2)).transpose(-1, -2)
        return shared

    def reinforce(
        self, index: int, tokens: Float[Tensor, "batch token dim"], prompts: Tensor, saliency: Float[Tensor, "batch image"]
    ) -> Float[Tensor, "batch token dim"]:
        """Adds R_l[r] to the image token of rank r by descending saliency; ties go to the earlier token."""
        ranked: Int[Tensor, "batch k"] = saliency.argsort(dim=1, descending=True, stable=True)[:, : self.k] + self.vit.prefix
        places = ranked[:, :, None].expand(-1, -1, tokens.shape[2])
        if self.ar_vector == "learned":
            added = self.reinforcements[index - 1].expand(len(tokens), -1, -1)
        else:
            salient, prompts = tokens.gather(1, places), prompts.expand(len(tokens), -1, -1)
            added = nn.functional.scaled_dot_product_attention(salient, prompts, prompts)
        return tokens.scatter_add(1, places, added.to(tokens.dtype))
