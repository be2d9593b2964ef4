"""E2VPT: Han et al., "E2VPT: An Effective and Efficient Approach for Visual Prompt Tuning", ICCV
2023, arXiv 2307.13770.

With P_l (prompt, d) the prompts of block l, Q_l (head, kv prompt, d / heads) its key-value prompts,
and q, k, v what it projects its normed rows [x_{l-1}, P~_l, E_{l-1}] to:

    prompts  as VPT-Deep: what a block makes of P~_l is dropped
    kv       softmax(q [Q_l; k]^T / sqrt(d / heads)) [Q_l; v]: the same Q_l joins keys and values,
             behind the projection, without norm
    prune    P~_l[i, c] = drop(P_l)[i, c] m[i] z[i, c mod 16], with m and z ones at first, trained,
             and the same for all blocks. Then the prompts of lowest dLoss/dm[i], and of each the
             pieces of lowest dLoss/dz[i, j], get 0, all others 1; P, Q and the head are trained
             once more from their initial values (rewinding).

As released, where the paper says otherwise or nothing: Q_l starts Kaiming uniform; gradients of m
and z keep their sign, and are summed over the batches of an epoch without dropout; a piece is every
16th channel, not a run of neighbours; one prompt, and four pieces of each, stay at least. A pruned
prompt becomes a row of zeros, whose key (that of the norm's bias) still takes attention. A norm
follows, which takes m[i] out but for its epsilon: so dLoss/dm[i] is near 0, and says little. The
documented commands for VTAB-1k don't prune; nor does the default here.

Ours: no steps in that epoch (as released, of learning rate 0); a run rewinds to its own values and
prunes for itself (as released, to new ones; one mask for all seeds); shares are searched.

Equal to the released code (commit 7a66e75), with dropout: logits to 1e-13, gradients to 1e-14; for
any number and share the same is pruned.
"""

from collections.abc import Mapping
from typing import Any

import torch
from optuna.distributions import BaseDistribution
from torch import Tensor, nn

from harness import ANY_LENGTH, PROMPT_DROPOUT, Effort, FrozenBackbone, Read, TrainSplit, new_kv
from methods.vpt import VPTDeep

PIECES = 16
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class E2VPT(VPTDeep):
    """VPT-Deep, and with `kv` in each block `kv_prompts` that are keys and values. With `prune`,
    shares of the prompts and of each one's pieces are zeroed after a first training."""

    name = "e2vpt"
    year = 2023
    version = "1"
    summary = "E2VPT: VPT-Deep with prompts among keys and values (arXiv 2307.13770)"
    note = "e2vpt's published numbers have prompts and kv_prompts that were chosen by task."
    needs = ("prompts", "kv")
    search_space = {
        "prompts": (1, 5, 10, 50, 100),
        "kv_prompts": (1, 5, 10),
        "prune_prompts": SHARES,
        "prune_pieces": SHARES,
    }
    allows = {"prompts": ANY_LENGTH, "kv_prompts": ANY_LENGTH}
    toggles = ("kv", "prune")
    train_only = ("prompt_mask", "piece_mask")

    def __init__(
        self,
        vit: FrozenBackbone,
        prompts: int = 10,
        kv_prompts: int = 5,
        kv: bool = True,
        prune: bool = False,
        prune_prompts: float = 0.5,
        prune_pieces: float = 0.5,
        dropout: float = PROMPT_DROPOUT,
    ):
        self.check(locals())
        super().__init__(vit, prompts, dropout)
        self.kv = new_kv(vit, vit.depth, kv_prompts) if kv else None
        if prune:
            self.stages = 2
            self.prompt_mask = nn.Parameter(torch.ones(prompts))
            self.piece_mask = nn.Parameter(torch.ones(prompts, PIECES))
            self.kept = nn.Buffer(torch.ones(prompts, PIECES))
            self.pruned = (
                min(int(prompts * prune_prompts + 1e-9), prompts - 1),
                min(int(PIECES * prune_pieces + 1e-9), PIECES - 4),
            )

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        if arguments.get("kv_prompts", 1) < 1:
            raise ValueError("e2vpt's kv_prompts is 1 or more; without any, write e2vpt(kv=false)")
        for name in ("prune_prompts", "prune_pieces"):
            if not 0 <= arguments.get(name, 0.5) < 1:
                raise ValueError(f"e2vpt's {name} is the share that is pruned: from 0 to below 1")

    @classmethod
    def space(cls, arguments: Mapping[str, Any]) -> Mapping[str, BaseDistribution]:
        idle = () if arguments.get("prune", False) else ("prune_prompts", "prune_pieces")
        idle += () if arguments.get("kv", True) else ("kv_prompts",)
        return {name: own for name, own in cls.search_space.items() if name not in idle}

    @classmethod
    def effort(cls, arguments: Mapping[str, Any], images: int, batch_size: int) -> Effort:
        return Effort(stages=2, forwards=2 * images) if arguments.get("prune") else Effort()

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        prompts = [self.dropout(own, len(images)) for own in self.prompts]
        if self.stages > 1:
            self.log("kept", self.kept.mean())
            pieces = self.kept * self.piece_mask * self.prompt_mask[:, None]
            mask = pieces.repeat(1, -(-max(self.vit.widths) // PIECES))
            prompts = [own * mask[:, : own.shape[-1]] for own in prompts]
        kv = None if self.kv is None else [(own, own) for own in self.kv]
        return self.vit.run(self.vit.embed(images), read, prompts, kv)

    def begin(self, train: TrainSplit, head: nn.Module) -> None:
        if self.stages > 1:
            own = (tensor for tensor in self.parameters() if tensor.requires_grad)
            self.start = [(one, one.clone()) for one in (*own, *head.state_dict().values())]

    def advance(self, stage: int, train: TrainSplit) -> None:
        self.eval()
        masks = self.prompt_mask, self.piece_mask
        found = [torch.autograd.grad(loss, masks) for loss in train.losses()]
        of_prompts, of_pieces = (torch.stack(grads).sum(0) for grads in zip(*found, strict=True))
        self.kept[of_prompts.argsort(stable=True)[: self.pruned[0]]] = 0
        self.kept.scatter_(1, of_pieces.argsort(dim=1, stable=True)[:, : self.pruned[1]], 0)
        for tensor, value in self.start:
            tensor.copy_(value)
        for mask in masks:
            mask.requires_grad_(False)
