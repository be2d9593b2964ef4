"""GateVPT, gated prompts for self-supervised backbones: Yoo et al., ICML 2023, arXiv 2306.05067.

N prompts travel through all L blocks, as in VPT-Shallow. With R_l the prompt rows before block l,
R'_l those behind it, a learnable gate gamma_l a block but the last, and a temperature tau_l:

    [x_{l+1}, R'_l, E_{l+1}] = L_l([x_l, R_l, E_l]),   its attention softmax(q k^T / (sqrt(d_h)
                               tau_l)) for all rows
    R_{l+1} = g_l R'_l + (1 - g_l) R_l,   g_l = sigmoid(gamma_l)

Open gates are VPT-Shallow; closed ones give every block the same prompts anew. gamma_l starts at
-`gate_init`, tau_l at 1.

As released: dropout on R_0 alone; before each training forward tau is put back into [0.01, 10],
the optimiser's value too (evaluation clamps without writing). MAE's features are norm(mean of image
and prompt rows), with the checkpoint's norm and behind the mean; most of our methods follow VPT's
code, whose norm there has no weights. MoCo v3's are CLS. Weight decay is 0. The release has no
gates for supervised backbones and no tuner: there numbers of prompts, learning rate and `gate_init`
are arguments (its example: 100, 0.1 at batch 64, 5), so what is searched is ours.

Equal to the released code (commit dd7d1ea): both models, in training, logits and gradients to
1e-13, on a small ViT in float64.
"""

import torch
from jaxtyping import Float
from optuna.distributions import FloatDistribution
from torch import Tensor, nn

from harness import ANY_LENGTH, PROMPT_DROPOUT, FrozenViT, Method, PromptDropout, Read, new_prompts

TEMPERATURES = (0.01, 10.0)


class GateVPT(Method):
    """VPT-Shallow with a learnable share (`gate`) of its prompts kept from block to block, and a
    learnable `temperature` of each block's attention."""

    name = "gate-vpt"
    family = "prompts"
    year = 2023
    summary = "GateVPT: VPT-Shallow with gates and temperatures by block (arXiv 2306.05067)"
    note = "gate-vpt is made for MAE and MoCo v3; published numbers chose its values for each task."
    needs = ("column", "prompts", "temperature")
    search_space = {"prompts": (50, 100), "gate_init": (1.0, 5.0, 10.0), "weight_decay": (0.0,)}
    allows = {"prompts": ANY_LENGTH, "gate_init": FloatDistribution(-20.0, 20.0)}
    toggles = ("gate", "temperature")

    def __init__(
        self,
        vit: FrozenViT,
        prompts: int = 100,
        gate_init: float = 5.0,
        dropout: float = PROMPT_DROPOUT,
        gate: bool = True,
        temperature: bool = True,
    ):
        super().__init__(vit)
        self.prompts = new_prompts(vit, prompts)
        self.dropout = PromptDropout(dropout)
        self.gates = nn.Parameter(torch.full((vit.depth - 1,), -float(gate_init))) if gate else None
        self.temperatures = nn.Parameter(torch.ones(vit.depth)) if temperature else None

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        vit, selected, temperatures = self.vit, list[Tensor](), self.clamped()
        prompts = self.dropout(self.prompts, len(images)).expand(len(images), -1, -1)
        tokens = torch.cat([vit.embed(images), prompts], dim=1)
        for index in range(read.blocks[-1] + 1):
            entered = tokens[:, -prompts.shape[1] :]
            rows, temperature = vit.rows(index, read), temperatures[index]
            tokens = vit.block(index, tokens, rows=rows, temperature=temperature)
            selected += vit.select(index, tokens, read)
            if self.gates is not None and index < read.blocks[-1]:
                gate = self.gates[index].sigmoid()
                image, left = tokens.tensor_split([-prompts.shape[1]], dim=1)
                tokens = torch.cat([image, gate * left + (1 - gate) * entered], dim=1)
        if self.gates is not None:
            self.log("gate", self.gates.sigmoid().mean())
        return selected

    def clamped(self) -> Float[Tensor, " block"] | list[None]:
        """The temperatures within bounds; in training written back, as the optimiser's value."""
        if self.temperatures is None:
            return [None] * self.vit.depth
        if self.training:
            self.temperatures.data.clamp_(*TEMPERATURES)
        return self.temperatures if self.training else self.temperatures.clamp(*TEMPERATURES)

    def pool(self, tokens: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch dim"]:
        return self.vit.pool_with_own_norm(tokens)
