"""Classification's head."""

from jaxtyping import Float
from torch import Tensor, nn

from methods.vit import FrozenViT


class LinearHead(nn.Module):
    """One linear layer on the backbone's pooled features: (batch, dim) -> (batch, classes)."""

    def __init__(self, vit: FrozenViT, classes: int):
        super().__init__()
        self.read = vit.read()
        self.pool = [vit.pool]  # in a list: the backbone isn't the head's to train, move or save
        self.linear = nn.Linear(vit.dim, classes)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, tokens: list[Float[Tensor, "batch row dim"]]) -> Float[Tensor, "batch class"]:
        return self.linear(self.pool[0](tokens[-1]))
