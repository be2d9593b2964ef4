"""What turns tokens into scores. A head says what it reads (`read`), and a method gives it that."""

from typing import Any, Literal

from torch import Tensor, nn

from harness.heads.linear import LinearHead
from harness.heads.setr_pup import SetrPup
from methods.base import Method
from methods.vit import FrozenViT

__all__ = ["Head", "HeadOnTokens", "LinearHead", "Model", "SetrPup", "new_head", "sized"]

Head = LinearHead | SetrPup


def sized(vit: FrozenViT, crop: int | None) -> FrozenViT:
    """The backbone at the side that a task's images have: its own; of a segmentation task, the crop's."""
    return vit if crop is None else vit.at(crop)


def new_head(vit: FrozenViT, classes: int, crop: int | None, init: Literal["kaiming_normal", "xavier_uniform"] = "kaiming_normal") -> Head:
    """The head of a task's kind: only segmentation has a crop. `init`: of a linear head."""
    return LinearHead(vit, classes, init) if crop is None else SetrPup(vit, classes)


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

    def __init__(self, head: Head):
        super().__init__()
        self.head = head

    def forward(self, tokens: Tensor) -> Any:
        return self.head([tokens])
