"""What a method has changed in its copy of a backbone: whether a block can still be computed in
parts, and what a message calls what was changed."""

from collections.abc import Callable, Mapping
from typing import Any

from timm.layers.attention import Attention, AttentionRope
from timm.layers.attention_pool import AttentionPoolLatent
from timm.layers.drop import DropPath
from timm.layers.mlp import GluMlp, Mlp, SwiGLU
from timm.layers.patch_embed import PatchEmbed
from timm.models import beit
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from harness.errors import BadInput

AS_LOADED = "_forward_as_loaded"
"""Each module of a backbone keeps its class's forward of the time when it was loaded. A method's
own modules have no such entry."""


def forwards(*kinds: type[nn.Module]) -> dict[type[nn.Module], Callable[..., Any]]:
    return {kind: kind.forward for kind in kinds}


EACH_TOKEN = frozenset(
    forwards(
        nn.Linear,
        nn.LayerNorm,
        nn.Identity,
        nn.Dropout,
        nn.GELU,
        nn.ReLU,
        nn.SiLU,
        nn.Tanh,
        nn.Sigmoid,
        nn.Sequential,
        DropPath,
    ).values()
)
"""Forwards that act on each token by itself, and so may stand anywhere in a block; Sequential's
where what is in it does."""


STILL = frozenset(forwards(nn.Identity, nn.Dropout, DropPath).values())
"""Forwards that hand on what they are given, outside of training."""

OPEN: dict[type[nn.Module], tuple[type[nn.Module], ...]] = {
    Block: (Attention,),
    EvaBlock: (EvaAttention, AttentionRope),
    beit.Block: (beit.Attention,),
}
"""timm's blocks that are computed in parts, and the attention that each may have."""
ORIGINAL = forwards(
    *(VisionTransformer, VisionTransformerDistilled, Eva, beit.Beit),
    *(kind for block, attentions in OPEN.items() for kind in (block, *attentions)),
    *(Mlp, GluMlp, SwiGLU, AttentionPoolLatent, PatchEmbed, nn.Linear, nn.LayerNorm),
)
"""The classes that ViTs are made of, as they were when this module was imported: before any
method's file was."""


def is_open(block: nn.Module) -> bool:
    """Whether a block may be computed in parts: it is timm's, and every part of it acts on each
    token by itself."""
    attn: Any = getattr(block, "attn", None)
    if type(attn) not in OPEN.get(type(block), ()) or not (
        is_as_loaded(block) and is_as_loaded(attn)
    ):
        return False
    if getattr(attn, "gate", None) is not None or type(attn.attn_drop) is not nn.Dropout:
        return False
    return parts_act_on_each_token(block, attn)


def parts_act_on_each_token(block: nn.Module, attn: nn.Module) -> bool:
    """Whether every part of a block and of its attention is known to act on each token by itself;
    attention itself aside."""
    return all(
        acts_on_each_token(part)
        for part in (*block.children(), *attn.children())
        if part is not attn
    )


def is_plain(linear: nn.Module | None) -> bool:
    """Whether what a linear map does is in its weight."""
    return linear is not None and type(linear).forward is nn.Linear.forward and is_as_loaded(linear)


def acts_on_each_token(module: nn.Module) -> bool:
    """Whether a module is known to act on each token by itself: it came with the backbone, or is
    torch's, or says so (`each_token`)."""
    own = module.__dict__
    if own.get(AS_LOADED) is None:
        if own.get("each_token", getattr(type(module), "each_token", False)) is True:
            return not is_hooked(module)
        if type(module).forward not in EACH_TOKEN:
            return False
    elif own[AS_LOADED] is not type(module).forward:
        return False
    if "forward" in own or is_hooked(module):
        return False
    return all(
        acts_on_each_token(part)
        for name, part in own["_modules"].items()
        if part is not None and name != "parametrizations"
    )


def is_as_loaded(module: nn.Module) -> bool:
    """Whether a module itself (not what is in it) runs as it did when the backbone was loaded."""
    own = module.__dict__
    return (
        own.get(AS_LOADED) is type(module).forward
        and "forward" not in own
        and not is_hooked(module)
    )


def is_hooked(module: nn.Module) -> bool:
    own = module.__dict__
    return bool(
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
    )


def described(module: nn.Module) -> str:
    """A changed module in a word."""
    if is_hooked(module):
        return f"a hooked {type(module).__name__}"
    return (
        f"a {type(module).__name__} with a forward of its own"
        if "forward" in module.__dict__
        else type(module).__name__
    )


def what_changed(block: nn.Module) -> str:
    """What in a block isn't as it was loaded and doesn't act on each token by itself: for a
    message."""
    if not is_as_loaded(block):
        return f"now {described(block)}"
    attention: nn.Module = block.attn  # type: ignore[assignment]
    inside = ((f"attn.{name}", part) for name, part in attention.named_children())
    for name, part in (*block.named_children(), *inside):
        if not (is_as_loaded(part) if name == "attn" else acts_on_each_token(part)):
            return f"its {name} is {described(part)}"
    return "its attn has a gate, or another dropout"


def put_in(vit: nn.Module) -> str | None:
    """The first part of a backbone that a method has put in, replaced or hooked, for a message; not
    what acts in training alone. None where all are as they were loaded."""
    modules: list[tuple[str, nn.Module]] = list(vit.named_modules())  # pyright: ignore[reportUnknownArgumentType]  # torch: no annotation
    for name, module in modules:
        own: dict[str, Any] = module.__dict__
        put = AS_LOADED not in own and "forward" not in own
        still = put and getattr(type(module), "forward", None) in STILL and not is_hooked(module)
        if not (is_as_loaded(module) or still):
            return f"{name or 'the ViT'} is {described(module)}"
    return None


def refuse_replaced(original: Mapping[type[nn.Module], Callable[..., Any]]) -> None:
    """Raises `BadInput` where a class has another forward than it had as `original` was made."""
    for kind, forward in original.items():
        if kind.forward is not forward:
            raise BadInput(
                f"{kind.__module__}.{kind.__name__}.forward was replaced in this process, for all"
                f" methods, by one of {kind.forward.__module__}: replace it on a method's own"
                " modules, as in block.attn.forward = ..."
            )


def foreign_part(vit: nn.Module, model: type[nn.Module]) -> str | None:
    """The first part of a backbone that the forward of `model` doesn't know, by its class; None
    where it knows all."""
    refuse_replaced(ORIGINAL)
    if not isinstance(vit, model):
        return type(vit).__name__
    blocks: Any = vit.blocks
    for block in blocks:
        if type(block) not in OPEN:
            return type(block).__name__
        if type(block.attn) not in OPEN[type(block)]:
            return type(block.attn).__name__
        if getattr(block.attn, "gate", None) is not None:
            return "gated attention"
        if getattr(block.attn, "num_kv_groups", 1) > 1:
            return "grouped-query attention"
    return None
