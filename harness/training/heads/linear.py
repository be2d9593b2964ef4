"""Classification's head."""

from jaxtyping import Float
from torch import Tensor, nn

from harness.backbones.frozen import Read
from harness.training.heads.head import Head, HeadInit
from harness.training.method import Method


class LinearHead(Head):
    """One linear layer on the features that the method pools: (batch, width) -> (batch, classes).

    Weights start from N(0, 2 / classes), kaiming normal of the fan out, as in VPT's released code,
    or xavier uniform; the bias from 0. VPT's starts from -4.6 in all classes alike, which a softmax
    doesn't see. "torch": both as `nn.Linear` has them.
    """

    def __init__(
        self,
        method: Method,
        classes: int,
        init: HeadInit = "kaiming_normal",
    ):
        super().__init__()
        self.classes = classes
        self._read = method.vit.read()
        self.pool = [method.pool]  # in a list: the method isn't the head's to train, move or save
        self.linear = nn.Linear(method.width, classes)
        if init == "kaiming_normal":
            nn.init.kaiming_normal_(self.linear.weight, mode="fan_out")
        elif init == "xavier_uniform":
            nn.init.xavier_uniform_(self.linear.weight)
        if init != "torch":
            nn.init.zeros_(self.linear.bias)

    @property
    def read(self) -> Read:
        return self._read

    def features(
        self, tokens: list[Float[Tensor, "batch row dim"]]
    ) -> list[Float[Tensor, "batch width"]]:
        return [self.pool[0](tokens[-1])]

    def scores(self, features: list[Float[Tensor, "batch width"]]) -> Float[Tensor, "batch class"]:
        return self.linear(features[0])
