"""Full fine-tuning: every weight of the backbone is trained. The upper bound on parameters that
every table of the field shows."""

from harness import FrozenBackbone, Method


class Full(Method):
    """All of the backbone is trained; AdamW with the learning rates of VPT's protocol (arXiv
    2203.12119)."""

    name = "full"
    family = "references"
    summary = "full fine-tuning of all weights, with AdamW"
    needs = ()
    search_space = {"base_lr": (0.001, 0.0001, 0.0005, 0.005)}
    optimizer = {"optimizer": "adamw"}

    def __init__(self, vit: FrozenBackbone):
        super().__init__(vit)
        self.vit.vit.requires_grad_(True)
