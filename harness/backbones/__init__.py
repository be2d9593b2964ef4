"""Backbones: a name, or a name and a file of weights, becomes a frozen backbone with the identity
that results are keyed by."""

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backbones import hub
from harness.backbones.cards import WEIGHTS, Card, shipped
from harness.backbones.layouts import COUNTER, fill
from harness.backbones.names import (
    ELSEWHERE,
    Spec,
    check,
    fetched,
    here,
    is_of_hub,
    not_covered,
    parse,
)
from harness.data.normalization import IMAGENET, Statistics, from_lists
from harness.errors import BadInput
from harness.tasks.cards import LARGEST_CROP

if TYPE_CHECKING:
    from torch import nn

    from harness.backbones.frozen import FrozenBackbone, Pooling

__all__ = [
    "WEIGHTS",
    "Backbone",
    "Spec",
    "architecture",
    "digest_of",
    "files_of",
    "load",
    "own_side",
    "parse",
    "shipped",
    "sided",
    "statistics_of",
    "where_from",
]


@dataclass(frozen=True)
class Backbone:
    """A frozen backbone and where it comes from."""

    name: str
    sha256: str
    """Of the weights as loaded (names, shapes, values), whatever format they came in; before
    positions are resized to another side."""
    pooling: "Pooling"
    size: int
    """Side of its square images, in pixels."""
    statistics: Statistics
    """Those of the images that it was trained with."""
    vit: "FrozenBackbone"
    """In float32 on the CPU."""
    source: str
    """File or hub the weights were read from; provenance, not identity."""


def load(spec: str) -> Backbone:
    """Loads `NAME`, `NAME@SIDE`, `NAME=FILE` or `NAME@SIDE=FILE`. NAME is shipped, or a model of
    timm's that is covered, on a hub or in a folder that was saved for one; FILE holds its weights.

    FILE is safetensors, a timm or torch checkpoint (read with `weights_only`), or an original ViT
    .npz (read without pickle); `layouts.py` says of which layouts. The position embedding is
    resized where the side differs. Raises `BadInput`.
    """
    from harness.backbones import families
    from harness.backbones.frozen import side_of

    wanted, cards = parse(spec), shipped()
    name = wanted.name
    vit, pooling = _random(name, cards)
    side = wanted.side or side_of(vit)
    if wanted.file or name in cards or name in ELSEWHERE:
        fill(
            vit,
            name,
            wanted.file or (WEIGHTS / f"{name}.safetensors" if name in cards else fetched(name)),
        )
    else:
        vit = _from_hub(name)
    digest = digest_of(vit)
    frozen = families.frozen(_at(vit, name, side), pooling)
    frozen.name = name
    source = str(wanted.file or ("shipped" if name in cards else ELSEWHERE.get(name, "timm's hub")))
    return Backbone(name, digest, pooling, frozen.image_size, statistics_of(name), frozen, source)


def files_of(spec: str) -> list[Path] | None:
    """The files that say all of a backbone: its weights, and the card of a shipped one. None where
    timm asks a hub for them. Raises `BadInput`."""
    wanted = parse(spec)
    name = wanted.name
    if name in shipped():
        return [WEIGHTS / f"{name}.toml", wanted.file or WEIGHTS / f"{name}.safetensors"]
    if wanted.file is None and name not in ELSEWHERE:
        return None
    path = wanted.file or here(name)
    return [path] if path.is_file() else None


def architecture(spec: str) -> "FrozenBackbone":
    """The backbone of a timm or shipped name with random weights: for a plan's timing, where
    weights aren't needed. Raises `BadInput`."""
    from harness.backbones import families
    from harness.backbones.frozen import side_of

    wanted = parse(spec)
    vit, pooling = _random(wanted.name, shipped())
    side = wanted.side or side_of(vit)
    frozen = families.frozen(_at(vit, wanted.name, side), pooling)
    frozen.name = wanted.name
    return frozen


def own_side(name: str) -> int | None:
    """The side that a name says (`..._224`, `..._384`), or a shipped one's; None for a name that
    says none, as DINOv2's."""
    if name in (cards := shipped()):
        return cards[name].side
    said = re.findall(r"_(\d{2,4})(?=_|$)", name.partition(".")[0])
    return int(said[-1]) if said else None


def sided(text: str, identity: Mapping[str, Any], crop: int | None) -> Spec:
    """What a user asks for, at the side that a stored identity has, where it says one. Raises
    `BadInput` where another is asked for."""
    wanted, side = parse(text), identity["backbone"].get("side")
    if crop is not None or side is None:
        return wanted
    if wanted.side not in (None, side):
        raise BadInput(
            f"--backbone {text}: it was made with images of {side} pixels. Leave @{wanted.side}"
            " out."
        )
    return replace(wanted, side=side)


def statistics_of(name: str) -> Statistics:
    """Those that a backbone was trained with, by its card or by timm's configuration of that
    name."""
    import timm

    if name in (cards := shipped()):
        return from_lists(cards[name].mean, cards[name].std)
    if name in ELSEWHERE:
        return IMAGENET
    if is_of_hub(name):
        config: Any = _outline(name).pretrained_cfg
        return from_lists(config["mean"], config["std"])
    config = timm.get_pretrained_cfg(name)
    return from_lists(config.mean, config.std)


def where_from(spec: str) -> str:
    """Where its weights would have to be fetched from; empty where they are here."""
    wanted = parse(spec)
    if wanted.file or wanted.name in shipped() or wanted.name.startswith("local-dir:"):
        return ""
    if is_of_hub(wanted.name):
        return "Hugging Face's hub"
    return ELSEWHERE.get(wanted.name, "timm's hub")


def digest_of(vit: "nn.Module") -> str:
    """The sha256 of a model's tensors: names, shapes, values."""
    digest = hashlib.sha256()
    for key, value in sorted(vit.state_dict().items()):
        if key.endswith(COUNTER):
            continue
        digest.update(json.dumps([key, list(value.shape)]).encode())
        digest.update(value.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _random(name: str, cards: Mapping[str, Card]) -> "tuple[Any, Pooling]":
    """The model of a name with random weights, and its pooling. Raises `BadInput` for a name that
    isn't known, or isn't covered."""
    import timm
    from timm.layers.patch_embed import PatchEmbed

    from harness.backbones import families

    if name in cards:
        vit: Any = timm.create_model(cards[name].model, **cards[name].architecture)
        return _at(vit, name, cards[name].side), cards[name].pooling
    check(name, cards)
    vit = _made(name.partition(".")[0] if name in ELSEWHERE else name)
    if type(patches := getattr(vit, "patch_embed", None)) not in (PatchEmbed, type(None)):
        raise not_covered(name, f"its patches come from a {type(patches).__name__}")
    try:
        # MAE's weights were not trained for their CLS token: VPT pools all others, the last
        # block's outputs at the prompts included
        mae = name.partition(".")[2].startswith("mae")
        pooling: Pooling = "vpt-mae" if mae else families.pooled(vit)
        families.frozen(vit, pooling)  # before anything is fetched for it
    except BadInput as error:
        raise not_covered(name, str(error).split(" is not covered")[0]) from error
    return vit, pooling


def _outline(name: str) -> Any:
    """The model of one of timm's names, without memory for its tensors."""
    import timm

    from harness.backbones.shapes import shapes_only

    try:
        with shapes_only(), hub.without_waiting() if is_of_hub(name) else nullcontext():
            return timm.create_model(name, pretrained=False, num_classes=0)
    except Exception as error:
        if not is_of_hub(name):
            raise
        raise _unfetched(name, "its config.json could not be read", error) from error


def _made(name: str, pretrained: bool = False) -> Any:
    """The model of one of timm's names, for images of one side at a time."""
    import timm

    more: dict[str, Any] = {}
    may = is_of_hub(name) or name.partition(".")[0] in timm.list_models(module="eva")
    if may and getattr(_outline(name), "dynamic_img_size", False):
        more["dynamic_img_size"] = False
    return timm.create_model(name, pretrained=pretrained, num_classes=0, **more)


def _from_hub(name: str) -> Any:
    try:
        with hub.without_waiting():
            return _made(name, pretrained=True)
    except BadInput:
        raise
    except Exception as error:
        # timm and its hub raise many kinds: no network, no such tag, no weights for this name
        raise _unfetched(name, "its weights could not be fetched", error) from error


def _unfetched(name: str, what: str, error: Exception) -> BadInput:
    reason = re.sub(r"\s+", " ", str(error)).strip().split(". ")[0][:160]
    reason = hub.unreachable() or f"{type(error).__name__}: {reason}"
    if is_of_hub(name):
        mend = "Give a folder with its config.json and weights: --backbone local-dir:FOLDER"
    else:
        mend = f"{hub.bring(name)}; or give a file: --backbone {name}=FILE"
    return BadInput(f"backbone {name}: {what} ({reason}). Offline? {mend}.")


def _at(vit: Any, name: str, side: int) -> Any:
    """The same ViT, for images of that side. Raises `BadInput` where that is no whole number of
    patches."""
    from harness.backbones.frozen import patch_of, patches_of, resize, side_of

    patch = patch_of(vit)
    if side == side_of(vit):
        return vit
    if side % patch:
        below = side - side % patch
        near = " or ".join(str(side) for side in (below, below + patch) if 0 < side <= LARGEST_CROP)
        raise BadInput(
            f"backbone {name} has {patches_of(vit)}, which {side} is no multiple of: take {near}."
        )
    resize(vit, side)
    return vit
