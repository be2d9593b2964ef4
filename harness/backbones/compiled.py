"""The MLP half of a block, compiled: norm, cast, bias, GELU and residual in a few kernels in place
of one each. On a GPU half of a training step does nothing but move those bytes.

A function that takes the block is compiled, not a model: its code holds for all blocks of a shape,
whatever the depth, the method's prompts and the number of classes. Only training steps use it:
scoring has other batches, and each shape takes seconds to compile.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Half = Callable[[Any, Tensor], Tensor]
"""What half a block makes of rows, (batch, row, dim)."""
SHAPES = 64
"""Shapes and kinds of block that a process compiles before it computes others as they are: torch's
own limit is 8."""
BACKEND = "inductor"

_on = False


def switch(on: bool) -> None:
    """Whether this process compiles blocks from now on."""
    global _on  # of a process, as the compiled code is
    _on = on


def is_on() -> bool:
    return _on


def run(half: Half, block: Any, rows: Tensor) -> Tensor:
    """`half(block, rows)`, compiled where that was asked for; as it is where compiling fails, which
    is said once a process."""
    if not (_on and torch.is_grad_enabled() and rows.requires_grad):
        return half(block, rows)
    if half in _failed:
        return half(block, rows)
    from torch._dynamo.exc import TorchDynamoException  # half a second, for those who compile

    try:
        return _compiled(half)(block, rows)
    except TorchDynamoException as error:
        _failed.add(half)
        said = " ".join(str(error).split())[:200]
        warnings.warn(f"blocks are computed as they are, not compiled: {said}", stacklevel=2)
        return half(block, rows)


_failed: set[Half] = set()


@functools.cache
def _compiled(half: Half) -> Half:
    import torch._dynamo

    torch._dynamo.config.cache_size_limit = max(SHAPES, torch._dynamo.config.cache_size_limit)  # pyright: ignore[reportAttributeAccessIssue]
    return torch.compile(half, dynamic=False, backend=BACKEND)
