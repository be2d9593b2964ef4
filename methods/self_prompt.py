"""SPT, self-prompt tuning: Wang et al., "Revisiting the Power of Prompt for Visual Tuning", ICML
2024, arXiv 2402.02382.

VPT, shallow or deep, whose prompts start as tokens that the frozen backbone, without prompts, makes
of the training images. With N prompts, image i and its patch j:

    block 0, and shallow   P_0[n] = patch(i_n)[j_n]       patch embedding; no position, no norm
    block l > 0            P_l[n] = L_{l-1}(...)[j_n]     what the block before makes of image i_n
    (i_n, j_n)             uniform over all images and patches, without repeats, anew for each block

As released (WangYZ1608/Self-Prompt-Tuning, commit ce0754f): no prompt dropout; the head's weight
decay is its own; with MAE's weights the checkpoint's norm is behind the mean, where most
methods follow VPT's code. Of the sources named there this is "random", the default; the means and
maxima of windows, and k-means, which reads a file that isn't released, aren't here. The README's
commands turn drop-path off, and so do we; the average of weights that they keep is never evaluated.

Ours: pairs are drawn first and gathered in one pass over the images, where the released code holds
the tokens of all images at once, of as many images drawn with repeats. The head starts as the
protocol says. The released learning rates belong to batches of 32, and are ours at 64.

Equal to the released code (commit ce0754f), shallow and deep, in float64: prompts to 3e-15, logits
to 3e-15, gradients to 1e-15, and the number of parameters; with MAE's weights features to 1e-14.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from harness import (
    ANY_LENGTH,
    Effort,
    FrozenViT,
    Method,
    Read,
    TrainSplit,
    new_prompts,
    run_prompts,
)


class SelfPrompt(Method):
    """`prompts` tokens of the training images at every block, or with `deep=False` before the first
    one; with `sampled=False` they are drawn as VPT's."""

    name = "self-prompt"
    family = "prompts"
    year = 2024
    version = "2"
    summary = "SPT: VPT whose prompts start as tokens of training images (arXiv 2402.02382)"
    note = "self-prompt (SPT): published epochs and hyper-parameters were chosen on test, per task."
    search_space = {
        "prompts": (20, 100),
        "base_lr": (0.004, 0.02, 0.04, 0.2),
        "weight_decay": (0.01,),
        "head_weight_decay": (0.5, 1.0, 3.0),
    }
    allows = {"prompts": ANY_LENGTH}
    optimizer = {"optimizer": "adamw"}
    toggles = ("sampled",)

    def __init__(self, vit: FrozenViT, prompts: int = 20, deep: bool = True, sampled: bool = True):
        super().__init__(vit)
        self.prompts = new_prompts(vit, vit.depth if deep else 1, prompts)
        self.deep, self.sampled = deep, sampled

    def begin(self, train: TrainSplit, head: nn.Module) -> None:
        if not self.sampled:
            return
        vit: Any = self.vit
        total, each, rng = len(train) * vit.image_tokens, self.prompts.shape[1], train.generator
        drawn = [torch.randperm(total, generator=rng)[:each].clone() for _ in self.prompts]
        places = torch.stack(drawn)
        for images, _ in train.batches():
            tokens, sources = vit.embed(images), vit.vit.patch_embed(images)
            count = len(images) * vit.image_tokens
            for index, prompts in enumerate(self.prompts):
                if index > 0:
                    tokens = vit.block(index - 1, tokens)
                    sources = tokens[:, vit.prefix :]
                here = (places[index] >= 0) & (places[index] < count)
                prompts[here] = sources.flatten(0, 1)[places[index, here]]
            places -= count

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        return run_prompts(self.vit, images, read, self.prompts, self.deep)

    def pool(self, tokens: Tensor) -> Tensor:
        return self.vit.pool_with_own_norm(tokens)

    @classmethod
    def effort(cls, arguments: Mapping[str, Any], images: int, batch_size: int) -> Effort:
        return Effort(forwards=images if arguments.get("sampled", True) else 0)
