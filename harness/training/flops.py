"""What a training step computes and keeps, counted and not timed."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harness.training.kind import Kind
from harness.training.loop import loss_of


def step_flops(
    kind: Kind[Any], model: nn.Module, side: int, batch_size: int, device: torch.device
) -> int:
    """Floating-point operations of a training step, forward and backward, for an image of a batch:
    matrix products and convolutions, a multiplication and an addition each.

    What is computed once a batch, such as the projections of prompts that all images share, is
    divided among its images. Leaves the model's state as it was, without gradients.
    """
    state = {name: buffer.clone() for name, buffer in model.named_buffers()}
    training = model.training
    try:
        # not of one: batch norm needs more
        two, four = (_counted(kind, model.train(), images, side, device) for images in (2, 4))
    finally:
        model.train(training).zero_grad()
        for name, buffer in model.named_buffers():
            buffer.data = state[name]
    by_image = (four - two) / 2
    return round(by_image + (two - 2 * by_image) / batch_size)


def _counted(
    kind: Kind[Any], model: nn.Module, images: int, side: int, device: torch.device
) -> int:
    inputs = torch.zeros(images, 3, side, side, device=device)
    targets = kind.targets(images, side, device)
    devices = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices),  # pyright: ignore[reportUnknownMemberType]  # torch: no annotation
        sdpa_kernel(SDPBackend.MATH),  # the others' kernels aren't counted on every device
        FlopCounterMode(display=False) as counter,
    ):
        loss_of(kind, model, inputs, targets).backward()  # pyright: ignore[reportUnknownMemberType]  # likewise
    return counter.get_total_flops()


def kept_bytes(step: Callable[[], object], own: Iterable[Tensor]) -> int:
    """Bytes that the forwards of `step` keep for their backward pass, each storage once, without
    those of `own`: a model's weights."""
    weights = {tensor.untyped_storage().data_ptr() for tensor in own}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def unpack(tensor: Tensor) -> Tensor:
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        step()
    return sum(kept.values())
