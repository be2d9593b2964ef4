"""Which forward a timm model gets, by its class, and how its features are pooled."""

from typing import Any

from timm.layers.attention_pool import AttentionPoolLatent
from timm.models.deit import VisionTransformerDistilled
from torch import nn

from harness.backbones.beit import FrozenBeit
from harness.backbones.cnn import FrozenConvNeXt, FrozenResNet
from harness.backbones.frozen import FrozenBackbone, Pooling
from harness.backbones.rope import FrozenRope
from harness.backbones.swin import FrozenSwin
from harness.backbones.vit import FrozenViT
from harness.errors import BadInput

FAMILIES: tuple[type[FrozenViT | FrozenSwin | FrozenConvNeXt | FrozenResNet], ...] = (
    FrozenViT,
    FrozenRope,
    FrozenBeit,
    FrozenSwin,
    FrozenConvNeXt,
    FrozenResNet,
)


def frozen(vit: nn.Module, pooling: Pooling | None = None) -> FrozenBackbone:
    """A timm model as its family computes it, pooled as timm does unless `pooling` says otherwise.
    Raises `BadInput` for one that isn't covered."""
    for family in FAMILIES:
        if isinstance(vit, family.model):
            return family(vit, pooling or pooled(vit))
    raise BadInput(f"a backbone with {type(vit).__name__} is not covered.")


def pooled(vit: Any) -> Pooling:
    """As timm pools its features; Swin's, as VPT does. Raises `BadInput` for a way that isn't
    covered."""
    if isinstance(vit, FrozenSwin.model):
        return "avg+prompts"
    if isinstance(vit, (FrozenConvNeXt.model, FrozenResNet.model)):
        return "avg"
    if isinstance(vit, VisionTransformerDistilled):
        return "cls+dist"
    if type(getattr(vit, "attn_pool", None)) is AttentionPoolLatent:
        return "map"
    known: dict[str, Pooling] = {"token": "cls", "avg": "avg"}
    if vit.global_pool not in known:
        raise BadInput(f"a backbone that pools by '{vit.global_pool}' is not covered.")
    return known[vit.global_pool]
