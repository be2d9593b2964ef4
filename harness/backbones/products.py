"""Rows times the frozen weights of a linear map: on some CPUs by oneDNN in place of MKL.

torch multiplies float32 matrices by MKL, which on AMD's processors leaves AVX-512 unused. oneDNN,
which comes with torch too, uses it: on a Zen 5 core a block's maps take half the time
(`benchmarks/frozen_products.py`). What decides is the processor and the shape and never a timing,
so a machine computes the same digits each time; the two differ from each other in rounding.
"""

import functools
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.mlp import Mlp
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from harness.backbones.changes import is_as_loaded, is_plain
from harness.io.cores import processor

FEWEST = 64
"""Rows from which on oneDNN is faster on such a processor; before, its call takes longer than the
product."""


def linear(
    rows: Float[Tensor, "*row ins"],
    weight: Float[Tensor, "outs ins"],
    bias: Float[Tensor, " outs"] | None = None,
) -> Float[Tensor, "*row outs"]:
    """`torch.nn.functional.linear`, up to rounding."""
    if not _is_for_onednn(rows, weight, bias):
        return F.linear(rows, weight, bias)
    if rows.requires_grad and torch.is_grad_enabled():
        return _Product.apply(rows, weight, bias)  # pyright: ignore[reportUnknownMemberType, reportReturnType]  # torch: no annotation
    return _product(rows, weight, bias)


def mapped(module: Any, rows: Float[Tensor, "*row ins"]) -> Float[Tensor, "*row outs"]:
    """What a linear map of a backbone, or what a method has put in its place, makes of rows."""
    return linear(rows, module.weight, module.bias) if is_plain(module) else module(rows)


def fed(mlp: nn.Module, rows: Float[Tensor, "*row dim"]) -> Float[Tensor, "*row dim"]:
    """What a block's MLP makes of rows: timm's by its maps, another as it is."""
    if type(mlp) is not Mlp or torch.compiler.is_compiling() or not is_as_loaded(mlp):
        return mlp(rows)
    hidden = mlp.norm(mlp.drop1(mlp.act(mapped(mlp.fc1, rows))))
    return mlp.drop2(mapped(mlp.fc2, hidden))


def _is_for_onednn(rows: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    return (
        rows.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and leaves_avx512_unused()
        and rows.dtype == weight.dtype == torch.float32
        and rows.numel() >= FEWEST * weight.shape[1]
        and not (weight.requires_grad or (bias is not None and bias.requires_grad))
        and not torch.is_autocast_enabled("cpu")
        # what counts, traces or transforms operations doesn't know it
        and not is_in_torch_dispatch_mode()
        and not torch._C._are_functorch_transforms_active()  # pyright: ignore[reportPrivateUsage]
    )


@functools.cache
def leaves_avx512_unused() -> bool:
    """Whether torch multiplies by MKL here, on a processor of AMD's that has AVX-512."""
    return (
        torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and processor("vendor_id") == "AuthenticAMD"
    )


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")


class _Product(torch.autograd.Function):
    """With a gradient for the rows alone."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _product(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return linear(grad_outputs[0], weight.t()), None, None
