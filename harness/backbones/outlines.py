"""What a backbone is like, without its weights: for lists and pages."""

from dataclasses import dataclass

from harness.backbones import architecture, shipped, statistics_of
from harness.backbones.carried import CAN
from harness.backbones.names import ELSEWHERE
from harness.backbones.shapes import shapes_only
from harness.data.normalization import Statistics

KNOWN = (
    "vit_base_patch16_224.augreg_in21k",
    "vit_base_patch16_224.mae",
    "vit_base_patch16_clip_224.openai",
    "vit_base_patch14_dinov2.lvd142m",
    "vit_small_patch16_dinov3.lvd1689m",
    "vit_base_patch16_dinov3.lvd1689m",
    "eva02_base_patch14_224.mim_in22k",
    "vit_pe_core_base_patch16_224.fb",
    "vit_base_patch16_rope_224.naver_in1k",
    "vit_base_patch16_siglip_224.v2_webli",
    "vit_base_patch16_siglip_gap_224.v2_webli",
    "aimv2_large_patch14_224.apple_pt",
    "beitv2_base_patch16_224.in1k_ft_in22k",
    "deit_base_distilled_patch16_224.fb_in1k",
    "swin_base_patch4_window7_224.ms_in22k",
    "swinv2_base_window12_192.ms_in22k",
    "convnext_base.fb_in22k",
    "resnet50.a1_in1k",
)
"""Of the many names that are covered, some that people tune: at least one of each family."""


@dataclass(frozen=True)
class Outline:
    name: str
    family: str
    side: int
    tokens: int
    """CLS, registers and image; of stages, the last one's; of a ConvNet, places of its last map."""
    width: int
    depth: int
    parameters: int
    pooling: str
    pixels: str
    """The mean and std that are taken out of its pixels."""
    licence: str
    """Of its weights, as timm or a card states it."""
    carries: frozenset[str]

    @property
    def lacks(self) -> str:
        """What no method may need of it, in words of `Method.needs`."""
        return ", ".join(word for word in CAN if word not in self.carries)


def outline(name: str) -> Outline:
    """Of a name as `backbones.load` takes it. Raises `BadInput`."""
    with shapes_only():
        vit = architecture(name)
    statistics = statistics_of(name)
    return Outline(
        name=name,
        family=vit.family,
        side=vit.image_size,
        tokens=vit.prefix + vit.image_tokens,
        width=vit.dim,
        depth=vit.depth,
        parameters=sum(parameter.numel() for parameter in vit.parameters()),
        pooling=vit.pooling,
        pixels=_words(statistics),
        licence=_licence(name),
        carries=vit.carries,
    )


def _words(statistics: Statistics) -> str:
    if "/" not in statistics.name:
        return statistics.name
    return f"mean {', '.join(f'{value:.2f}' for value in statistics.mean)}"


def _licence(name: str) -> str:
    import timm

    if name in (cards := shipped()):
        return cards[name].licence
    if name in ELSEWHERE:
        return "see its authors"
    config = timm.get_pretrained_cfg(name)
    return getattr(config, "license", None) or "not stated"
