"""Prefix tuning: Li and Liang, "Prefix-Tuning: Optimizing Continuous Prompts for Generation", ACL
2021, arXiv 2101.00190, on a ViT.

With q, k, v what block l projects its normed rows [x_{l-1}, E_{l-1}] to, and K_l, V_l (head,
prompt, d / heads) learnable, each for itself:

    softmax(q [K_l; k]^T / sqrt(d / heads)) [V_l; v]

Ours: K_l and V_l are trained as they are, from Kaiming uniform values; the paper, for language
models, trains them through an MLP that is dropped afterwards. They join before the softmax without
norm and projection, and rows for them have no output. Their number and the protocol's optimiser are
searched as VPT's.

Equal to E2VPT's released code without its prompts, with keys and values apart (commit 7a66e75):
logits to 1e-13, gradients to 1e-15.
"""

from torch import Tensor

from harness import ANY_LENGTH, PROMPT_LENGTHS, FrozenBackbone, Method, Read, new_kv


class Prefix(Method):
    """`prompts` learnable keys and as many values in every block."""

    name = "prefix"
    family = "prompts"
    year = 2021
    summary = "Prefix tuning: learnable keys and values in every block (arXiv 2101.00190)"
    note = (
        "prefix is a language models' method on a ViT, without the MLP that it is trained through."
    )
    needs = ("kv",)
    search_space = {"prompts": PROMPT_LENGTHS}
    allows = {"prompts": ANY_LENGTH}

    def __init__(self, vit: FrozenBackbone, prompts: int = 20):
        super().__init__(vit)
        self.keys = new_kv(vit, vit.depth, prompts)
        self.values = new_kv(vit, vit.depth, prompts)

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        kv = list(zip(self.keys, self.values, strict=True))
        return self.vit.run(self.vit.embed(images), read, kv=kv)
