"""DA-VPT: Ren et al., "Semantic-Guided Visual Prompt Tuning for Vision Transformers", CVPR 2025,
arXiv 2505.23694.

VPT-Deep, and in the last D blocks a metric loss that pulls an image's tokens to the prompt (proxy)
that its class is mapped to. With f_b of image b and proxies p_1 ... p_M of such a block:

    patch  f_b = mean of the image rows that enter the block       S[b,m] = 5 cos(f_b, p_m)
    cls    f_b = W_q LN1(CLS) + b_q                B_m: the images whose class is mapped to m
    A(f) = mean_m log(1 + sum_{b in B_m} e^{-32 (S[b,m] - 0.1)})
         + mean_m log(1 + sum_{b not in B_m} e^{32 (S[b,m] + 0.1)})
    loss = CE + mean over the D blocks of w_patch A(patch) + w_cls A(cls)

Classes are mapped by k-means of their mean features behind a layer norm: of the backbone at first,
and of each epoch from epoch 10 on (released: 1 or 10, by task). DA-VPT+ (`plus`) trains CLS, each
block's first norm, and the biases of keys, values, projection, fc2 and the second norm too; as
released, where "proj.bias" is looked for by name, the patch embedding's too.

As released (Noahsark/DA-VPT, commit 1a5ac60): no prompt dropout; prompts start in an eighth of
Xavier's range for one tensor of all blocks; the backbone's vectors don't decay, CLS does; MAE's
rows are pooled behind the checkpoint's norm. For VTAB with ViT-B only DA-VPT+ is configured, in
three tasks (Caltech101, DTD, Pets) with no metric loss, since the key that sets its weight isn't
read. Ours: no sampler of classes (theirs: two images of each), no drop-path, no clipping; the first
means are of all training images (theirs: ten a class); with no more classes than proxies, class c
has proxy c, the rest are plain prompts (theirs: none).

Equal to the released code (commit 1a5ac60) in float64, with `plus` too: logits to 2e-15, on MAE
features to 1e-14, metric loss to 7e-15, gradients to 6e-13, parameters, k-means exactly.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from harness import Factors, FrozenViT, Method, Read, TrainSplit
from methods.da_vpt_parts import ClassMap, anchor, pooled, unfreeze

RECLUSTER = 10
WEIGHTS = (0.01, 0.05, 0.1, 0.5)


class DAVPT(Method):
    """`prompts` at every block, but `proxies` in the last `proxy_blocks`."""

    name = "da-vpt"
    family = "prompts"
    year = 2025
    version = "2"
    summary = "DA-VPT: prompts that classes are mapped to, with a metric loss (arXiv 2505.23694)"
    note = "da-vpt: published numbers are of the best test epoch, with classes sampled evenly."
    needs = ("plain blocks", "cls")
    search_space = {
        **{"prompts": (5, 10, 20), "proxies": (10, 20)},
        **{"proxy_blocks": (1, 3, 9), "patch_weight": WEIGHTS, "cls_weight": WEIGHTS},
        "base_lr": (0.0004, 0.002, 0.004, 0.02, 0.04),
        "weight_decay": (0.0001, 0.01, 0.05, 0.5, 5.0),
        "head_weight_decay": (0.0001, 0.05, 0.5, 3.0),
    }
    optimizer = {"optimizer": "adamw"}
    refuses = {"segmentation": "its loss needs one class an image, and a mask has several"}
    whole_batch = True

    def __init__(
        self,
        vit: FrozenViT,
        prompts: int = 20,
        proxies: int = 20,
        proxy_blocks: int = 1,
        patch_weight: float = 0.01,
        cls_weight: float = 0.01,
        plus: bool = False,
    ):
        super().__init__(vit)
        self.first, self.weights = max(0, vit.depth - proxy_blocks), (patch_weight, cls_weight)
        self.prompts = nn.ParameterList()
        for blocks, count in ((self.first, prompts), (vit.depth - self.first, proxies)):
            bound = math.sqrt(6 / (vit.dim * (blocks + count))) / 8
            for own in torch.empty(blocks, count, vit.dim).uniform_(-bound, bound):
                self.prompts.append(nn.Parameter(own.clone()))
        self.map: ClassMap | None = None  # like what follows only training's: in no checkpoint
        self.features, self.seen = torch.empty(0), list[tuple[Tensor, Tensor]]()
        if plus:
            unfreeze(vit)

    def factors(self) -> Mapping[str, Factors]:
        return {"vit": Factors(decay=0.0), "vit.vit.cls_token": Factors()}

    def begin(self, train: TrainSplit, head: nn.Module) -> None:
        self.map = ClassMap(train.classes, len(self.prompts[-1]), train.generator)
        for images, labels in train.batches():
            tokens = self.vit.run(self.vit.embed(images), self.vit.read())
            self.map.kept.append((pooled(self.vit, tokens[-1]), labels))
        self.map.next(update=True)

    def epoch(self, number: int, epochs: int) -> None:
        if self.map is not None:
            self.map.next(update=number > RECLUSTER)

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        tokens, selected = self.vit.embed(images), list[Tensor]()
        self.seen.clear()
        for index, own in zip(range(read.blocks[-1] + 1), self.prompts, strict=False):
            if self.training and index >= self.first:
                block: Any = self.vit.vit.blocks[index]
                (query,) = self.vit.project(index, block.norm1(tokens[:, :1]), "q")
                self.seen.append((tokens[:, self.vit.prefix :].mean(1), query.flatten(1)))
            tokens, prompts = self.vit.place(index, tokens, own, read)
            tokens = self.vit.block(index, tokens, prompts, self.vit.rows(index, read))
            selected += self.vit.select(index, tokens, read)
        return selected

    def pool(self, tokens: Tensor) -> Tensor:
        self.features = pooled(self.vit, tokens)
        return self.features

    def penalty(self, labels: Tensor, head: Any) -> Tensor:
        if self.map is None:  # a look at one step, outside a run
            self.map = ClassMap(head.classes, len(self.prompts[-1]))
        self.map.kept.append((self.features.detach(), labels))
        inside = self.map.inside(labels)
        terms = [
            weight * anchor(rows, proxies[: inside.shape[1]], inside)
            for seen, proxies in zip(self.seen, self.prompts[self.first :], strict=True)
            for weight, rows in zip(self.weights, seen, strict=True)
        ]
        loss = torch.stack(terms).sum() / len(self.seen)
        self.log("metric", loss)
        return loss
