"""What turns tokens into scores. A head says what it reads (`read`), and a method gives it that."""

from typing import Any

from torch import Tensor, nn

from harness.heads.linear import LinearHead
from harness.heads.setr_pup import SetrPup
from methods.base import Method

__all__ = ["Head", "HeadOnTokens", "LinearHead", "Model", "SetrPup"]

Head = LinearHead | SetrPup


class Model(nn.Module):
    """A method and a head, joined: images (batch, channel, height, width) -> what the head makes of them."""

    def __init__(self, method: Method, head: Head):
        super().__init__()
        self.method = method
        self.head = head

    def forward(self, images: Tensor) -> Any:
        return self.head(self.method(images, self.head.read))


class HeadOnTokens(nn.Module):
    """A head whose tokens were computed before: for methods with constant features."""

    def __init__(self, head: LinearHead):
        super().__init__()
        self.head = head

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head([tokens])
