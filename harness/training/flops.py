"""What training and scoring an image compute, and what a step keeps: counted and not timed."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from harness.training.kind import Kind
from harness.training.step import loss_of


def step_flops(
    kind: Kind[Any], model: nn.Module, side: int, batch_size: int, device: torch.device
) -> int:
    """Floating-point operations of a training step, forward and backward, for an image of a batch:
    matrix products and convolutions, a multiplication and an addition each.

    What is computed once a batch, such as the projections of prompts that all images share, is
    divided among its images. Leaves the model's state as it was, without gradients.
    """

    def step(inputs: Tensor) -> None:
        targets = kind.targets(len(inputs), side, device)
        loss_of(kind, model, inputs, targets).backward()  # pyright: ignore[reportUnknownMemberType]  # torch: no annotation

    state = {name: buffer.clone() for name, buffer in model.named_buffers()}
    training = model.training
    model.train()
    try:
        return _an_image(step, side, batch_size, device)
    finally:
        model.train(training).zero_grad()
        for name, buffer in model.named_buffers():
            buffer.data = state[name]


def scored_flops(model: nn.Module, side: int, at_once: int, device: torch.device) -> int:
    """As `step_flops`, of a forward pass in eval mode for an image, of `at_once` that are scored
    together."""
    training = model.training
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    try:
        for parameter in trained:  # the counter would follow its gradient
            parameter.requires_grad = False
        with torch.no_grad():
            return _an_image(model, side, at_once, device)
    finally:
        model.train(training)
        for parameter in trained:
            parameter.requires_grad = True


def _an_image(
    work: Callable[[Tensor], object], side: int, together: int, device: torch.device
) -> int:
    """Operations of `work` for an image of `together`: what is done once for all of them is divided
    among them."""
    # not of one: batch norm needs more
    two, four = (_counted(work, images, side, device) for images in (2, 4))
    by_image = (four - two) / 2
    return round(by_image + (two - 2 * by_image) / together)


def _counted(work: Callable[[Tensor], object], images: int, side: int, device: torch.device) -> int:
    from torch.utils.flop_counter import FlopCounterMode  # it imports Triton: not at each start

    inputs = torch.zeros(images, 3, side, side, device=device)
    devices = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices),  # pyright: ignore[reportUnknownMemberType]  # torch: no annotation
        sdpa_kernel(SDPBackend.MATH),  # the others' kernels aren't counted on every device
        FlopCounterMode(display=False) as counter,
    ):
        work(inputs)
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
