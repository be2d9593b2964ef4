"""What turns tokens into scores. A head says what it reads (`read`), and a method gives it that."""

from jaxtyping import Float
from torch import Tensor, nn

from methods.base import Method
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


class Model(nn.Module):
    """A method and a head, joined: images (batch, channel, height, width) -> scores (batch, classes)."""

    def __init__(self, method: Method, head: LinearHead):
        super().__init__()
        self.method = method
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.method(images, self.head.read))


class HeadOnTokens(nn.Module):
    """A head whose tokens were computed before: for methods with constant features."""

    def __init__(self, head: LinearHead):
        super().__init__()
        self.head = head

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head([tokens])
