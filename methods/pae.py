"""PAE: Wang et al., "Visual Prompt-Agnostic Evolution", ICLR 2026, arXiv 2601.20232. On top of a
method with prompts P_0 ... P_{L-1} at every block: they start from the task (MPA), and training
keeps them in step from block to block (KLD).

    MPA  x^s = Re IFFT(M_s FFT(x)),  M_s each window of w x w in the shifted spectrum, at stride w/2
         P_0 = [sum_{b,j} |e|^2 e / sum |e|^2 for the N windows s with the lowest CE(x^s)],  e the
         patches of x^s of a batch b, embedded, with their positions
         P_{l+1} = L_l(P_l),  prompts alone
    KLD  z_i = P_i U,  V(z) = z' Q z'^T,  z' = z / max(1, |z|),  Q = L^T L / |L^T L|_2
         loss = CE + sum_{i=1}^{L-2} w_K mean (z_i K - z_{i+1})^2
                   + w_L 10 tanh(mean softplus(V(z_i K) - V(z_i)) / 10)

U (d x 256), K and L (256 x 256, from identities) are shared by all blocks and only trained with.

As released (reeive/PAE, commit 30f40b9), for VPT-Deep: all images of a batch have one mask of
prompt dropout; losses of the untrained head, with zeros for prompts; P_0 isn't in KLD; softplus,
means, tanh and the limit on |z| for the paper's ReLU and norms; weights of its command and of its
configuration. Its map back to d gets no gradient, and isn't here.

Ours: w is 16 for 224 pixels as released, and shrinks with the image; 64 images (its command: 128);
gradients of U, K and L aren't clipped to norm 10; on vfpt and e2vpt, for which no code is released,
P is what is trained, before any transform.

Equal to the released code (commit 30f40b9) in float64, base=vpt-deep: prompts to 2e-15, logits to
1e-15, KLD to the digit, gradients to 4e-16, parameters (without its map back).
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from optuna.distributions import BaseDistribution
from torch import Tensor, nn

from harness import ANY_LENGTH, PROMPT_DROPOUT, Effort, FrozenViT, Method, Read, TrainSplit
from methods.e2vpt import E2VPT
from methods.pae_parts import KLD, OneMask, loss_through, spectrum, token_of, windows
from methods.vfpt import VFPT
from methods.vpt import VPTDeep

BASES: dict[str, Any] = {"vpt-deep": VPTDeep, "vfpt": VFPT, "e2vpt": E2VPT}
BATCH = 64


class PAE(Method):
    """`base` with `mpa`, how its prompts start, and `kld`, what its training adds."""

    name = "pae"
    family = "prompts"
    year = 2026
    version = "2"
    summary = "PAE: prompts from frequencies, kept in step across blocks (arXiv 2601.20232)"
    note = "pae(base=vpt-deep) is released code; on vfpt and e2vpt it is our reading of the paper."
    search_space = {"prompts": (20,), "koopman_weight": (0.05, 0.5), "lyapunov_weight": (0.05, 0.2)}
    allows = {"prompts": ANY_LENGTH}
    toggles = ("mpa", "kld")
    train_only = ("kld",)

    def __init__(
        self,
        vit: FrozenViT,
        base: Literal["vpt-deep", "vfpt", "e2vpt"] = "vpt-deep",
        prompts: int = 20,
        dropout: float = PROMPT_DROPOUT,
        mpa: bool = True,
        kld: bool = True,
        koopman_weight: float = 0.5,
        lyapunov_weight: float = 0.2,
    ):
        self.check(locals())
        super().__init__(vit)
        self.windows = windows(vit.image_size)
        if mpa and prompts > len(self.windows):
            raise ValueError(
                f"pae makes a prompt of a window of the spectrum, and has {len(self.windows)} with"
                f" images of {vit.image_size} pixels: at most so many, or write pae(mpa=false)"
            )
        self.base, self.mpa = BASES[base](vit, prompts=prompts, dropout=dropout), mpa
        if base == "vpt-deep":
            self.base.dropout = OneMask(dropout)
        self.kld, self.weights = KLD(vit.dim) if kld else None, (koopman_weight, lyapunov_weight)

    @classmethod
    def space(cls, arguments: Mapping[str, Any]) -> Mapping[str, BaseDistribution]:
        idle = () if arguments.get("kld", True) else ("koopman_weight", "lyapunov_weight")
        return {name: own for name, own in cls.search_space.items() if name not in idle}

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        return self.base(images, read)

    def begin(self, train: TrainSplit, head: nn.Module) -> None:
        if not self.mpa:
            return
        self.base.prompts.zero_()
        rows = torch.randperm(len(train), generator=train.generator)[:BATCH]
        batch = [train.batch(part) for part in torch.split(rows, train.at_once)]
        spectra = [(spectrum(images), labels) for images, labels in batch]
        losses = [loss_through(own, spectra, self, head) for own in self.windows]
        best = torch.stack(losses).topk(self.base.prompts.shape[1], largest=False).indices
        prompts = torch.stack([token_of(self.windows[own], spectra, self.vit) for own in best])
        for index, own in enumerate(self.base.prompts):
            own.copy_(prompts)
            prompts = self.vit.block(index, prompts[None])[0]

    def penalty(self, labels: Tensor, head: nn.Module) -> Tensor | None:
        if self.kld is None:
            return None
        with torch.autocast(labels.device.type, enabled=False):  # a norm of singular values
            consistency, stability = self.kld(self.base.prompts)
        self.log("consistency", consistency)
        self.log("stability", stability)
        return self.weights[0] * consistency + self.weights[1] * stability

    @classmethod
    def effort(cls, arguments: Mapping[str, Any], images: int, batch_size: int) -> Effort:
        each = 729 + arguments.get("prompts", 20) if arguments.get("mpa", True) else 0
        return Effort(forwards=each * min(BATCH, images))
