"""What CUDA would make of a model, told without a GPU: its cast rules on fake tensors, for which
nothing is computed, and on the CPU, where a backward pass can be run; and what of it makes the
device wait."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda")

IN_FLOAT32 = frozenset(
    (
        *("acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p"),
        *("reciprocal", "rsqrt", "sinh", "tan", "pow", "__pow__", "__rpow__", "softplus"),
        *("layer_norm", "group_norm", "norm", "normalize", "cosine_similarity", "cross_entropy"),
        *("nll_loss", "kl_div", "l1_loss", "smooth_l1_loss", "huber_loss", "mse_loss"),
        *("binary_cross_entropy_with_logits", "dist", "cdist", "renorm", "logsumexp"),
        *("interpolate", "prod", "softmax", "log_softmax", "cumprod", "cumsum", "sum"),
        *("linalg_vector_norm", "linalg_matrix_norm", "vector_norm", "matrix_norm"),
    )
)
"""Autocast of CUDA computes these in float32, and that of the CPU leaves most as they are."""
IN_BFLOAT16 = frozenset(("einsum", "mv", "addmv", "addr", "multi_dot", "chain_matmul"))
"""CUDA's computes these in bfloat16, and the CPU's what they are made of."""
IN_THE_WIDEST = frozenset(
    (
        *("addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "index_put"),
        *("tensordot", "scatter_add"),
    )
)

WAITS = frozenset(
    (
        *("_local_scalar_dense", "nonzero", "masked_select", "bincount", "equal", "is_nonzero"),
        *("_unique2", "unique_dim", "unique_consecutive", "repeat_interleave"),
        *("_linalg_check_errors", "_linalg_svd", "_linalg_eigh", "linalg_eig", "linalg_lstsq"),
    )
)
"""Operations of which the CPU needs a number, such as a size or whether they have succeeded."""


class CastAsOnCuda(TorchFunctionMode):
    """Makes the CPU's autocast that of CUDA, where the two differ. By PyTorch's lists of operations
    that autocast casts."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        name, given = getattr(func, "__name__", ""), (tuple(args), dict(kwargs or {}))
        if torch.is_autocast_enabled("cpu"):
            if name in IN_FLOAT32 or (name in IN_THE_WIDEST and torch.float32 in _types(given)):
                given = _cast(given, torch.float32)
            elif name in IN_BFLOAT16:
                given = _cast(given, torch.bfloat16)
        return func(*given[0], **given[1])


def _tensors(given: Any) -> list[Tensor]:
    return [one for one in tree_leaves(given) if isinstance(one, Tensor)]


def _devices(given: Any) -> set[str]:
    return {one.device.type for one in _tensors(given)}


def _types(given: Any) -> set[torch.dtype]:
    return {one.dtype for one in _tensors(given)}


def _cast(given: Any, to: torch.dtype) -> Any:
    def cast(one: Any) -> Any:
        half = isinstance(one, Tensor) and one.dtype in (torch.float32, torch.bfloat16)
        return one.to(to) if half else one

    return tree_map(cast, given)


class Waiting(TorchDispatchMode):
    """Collects by name what makes a device wait, and goes on with made-up numbers where there are
    none: fake tensors."""

    def __init__(self, fake: bool) -> None:
        """`fake`: what is on the CPU doesn't count."""
        super().__init__()
        self.fake = fake
        self.found: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_") and any(
            one is not None and one.dtype == torch.bool for one in args[1]
        )
        if (name in WAITS or masks) and (not self.fake or GPU.type in _devices((args, kwargs))):
            self.found.add(f"{name} of a mask" if masks else name)
        if name == "_to_copy" and "device" in kwargs and not kwargs.get("non_blocking"):
            self._copied(args[0].device, torch.device(kwargs["device"]))
        if name == "copy_" and not (args[2] if len(args) > 2 else kwargs.get("non_blocking")):
            self._copied(args[1].device, args[0].device)
        if name == "_local_scalar_dense" and isinstance(args[0], FakeTensor):
            kind = args[0].dtype
            return True if kind == torch.bool else 1.0 if kind.is_floating_point else 1
        return func(*args, **kwargs)

    def _copied(self, source: torch.device, target: torch.device) -> None:
        if source.type != target.type:
            self.found.add(f"a copy from {source.type} to {target.type}")


@contextmanager
def on_fake_gpu(model: nn.Module) -> Iterator[Waiting]:
    """Around calls of a model whose tensors are, from here on, fake ones on a GPU, under CUDA's
    autocast in bf16. Without gradients: autograd's engine asks for a real device, and fake tensors
    are remembered by whether they need one."""
    made: dict[int, tuple[Tensor, Tensor]] = {}

    def fake(real: Tensor) -> Tensor:
        if id(real) not in made:
            own: Tensor = torch.empty_strided(
                real.shape, real.stride(), dtype=real.dtype, device=GPU
            )
            if isinstance(real, nn.Parameter):
                own = nn.Parameter(own, requires_grad=False)
            made[id(real)] = own, real  # which keeps its id
        return made[id(real)][0]

    enabled, dtype = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="User provided device_type of 'cuda'")
        for module in model.modules():
            for tensors in (module._parameters, module._buffers):
                for name, real in tensors.items():
                    if real is not None:
                        tensors[name] = fake(real)  # type: ignore[assignment]
        try:
            torch.set_autocast_enabled("cuda", True)
            torch.set_autocast_dtype("cuda", torch.bfloat16)
            with Waiting(fake=True) as waiting:
                yield waiting
        finally:
            torch.set_autocast_enabled("cuda", enabled)
            torch.set_autocast_dtype("cuda", dtype)
            torch.clear_autocast_cache()
