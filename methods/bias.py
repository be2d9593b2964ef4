"""BitFit: only bias terms are trained. Ben Zaken, Goldberg, Ravfogel, ACL 2022, arXiv
2106.10199."""

from harness import FrozenViT, Method


class Bias(Method):
    """The biases of the backbone's linear maps, norms and patch embedding are trained."""

    name = "bias"
    family = "peft"
    year = 2022
    summary = "BitFit: the backbone's bias terms (arXiv 2106.10199)"

    def __init__(self, vit: FrozenViT):
        super().__init__(vit)
        for name, parameter in self.vit.vit.named_parameters():
            parameter.requires_grad_(name.endswith(".bias"))
