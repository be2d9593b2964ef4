"""Linear probe: the backbone stays as it is, and nothing but the head is tuned."""

from torch import Tensor

from methods.base import Method
from methods.vit import Read


class Linear(Method):
    name = "linear"
    summary = "linear probe: only the head is tuned, on the frozen backbone's features"
    constant_features = True

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        return self.vit.run(self.vit.embed(images), read)
