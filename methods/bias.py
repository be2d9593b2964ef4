"""BitFit: only bias terms are trained. Ben Zaken, Goldberg, Ravfogel, ACL 2022, arXiv 2106.10199."""

import copy

from methods.base import Method
from methods.vit import FrozenViT


class Bias(Method):
    """A copy of the backbone whose biases (of linear maps, norms and the patch embedding) are trainable."""

    name = "bias"
    summary = "BitFit: the backbone's bias terms (arXiv 2106.10199)"

    def __init__(self, vit: FrozenViT):
        super().__init__(copy.deepcopy(vit))
        for name, parameter in self.vit.vit.named_parameters():
            parameter.requires_grad_(name.endswith(".bias"))
