"""What turns tokens into scores. A head says what it reads (`read`), and a method gives it that."""

import inspect
from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from harness.backbones.frozen import FrozenBackbone, Read
from harness.training.heads.head import Head, HeadInit
from harness.training.heads.linear import LinearHead
from harness.training.heads.setr_pup import SetrPup
from harness.training.method import Method
from harness.training.train_split import Labels

__all__ = [
    "Head",
    "HeadInit",
    "HeadOnTokens",
    "LinearHead",
    "Model",
    "SetrPup",
    "check_tokens",
    "sized",
]


def sized(vit: FrozenBackbone, crop: int | None) -> FrozenBackbone:
    """The backbone at the side that a task's images have: its own, or where its card says one the
    crop's."""
    return vit if crop is None else vit.at(crop)


class Model(nn.Module):
    """A method and a head, joined: images (batch, channel, height, width) -> what the head makes of
    them."""

    def __init__(self, method: Method, head: Head):
        super().__init__()
        self.method = method
        self.head = head

    def forward(self, images: Tensor) -> Any:
        tokens = self.method(images, self.head.read)
        check_tokens(self.method, self.head.read, tokens, len(images))
        return self.head(tokens)

    def penalty(self, targets: Labels) -> Tensor | None:
        """What the method adds to the loss of the batch that was passed forward last."""
        return self.method.penalty(targets, self.head)


def check_tokens(method: Method, read: Read, tokens: Any, batch: int) -> None:
    """Raises `TypeError` for what a head can't read, with the place of the method's forward: no
    frame of it is left to blame."""
    wanted, kind = len(read.blocks), type(tokens).__name__
    given = cast("Sequence[Any]", tokens) if isinstance(tokens, list | tuple) else None
    if given is None:
        said = (
            f"a tensor of shape {tuple(tokens.shape)}"
            if isinstance(tokens, Tensor)
            else f"a {kind}"
        )
    elif len(given) != wanted or not all(isinstance(one, Tensor) for one in given):
        said = f"a list of {len(given)} ({', '.join(type(one).__name__ for one in given[:3])})"
    elif any(one.ndim != 3 or len(one) != batch or one.shape[2] != method.vit.dim for one in given):
        said = f"tensors of shape {', '.join(str(tuple(one.shape)) for one in given)}"
    else:
        return
    code = getattr(inspect.unwrap(type(method).forward), "__code__", None)
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    few = f"{wanted} tensor{'s' * (wanted > 1)} of shape ({batch}, rows, {method.vit.dim})"
    raise TypeError(
        f"{type(method).__name__}.forward{place} returned {said}, and a head reads a list of {few},"
        " tokens that aren't pooled: what self.vit.run(tokens, read) gives"
    )


class HeadOnTokens(nn.Module):
    """A head whose tokens were computed before: for methods with constant features."""

    def __init__(self, head: Head):
        super().__init__()
        self.head = head

    def forward(self, tokens: Tensor) -> Any:
        return self.head([tokens])
