"""Backbones: a timm name, or a name and a file of weights, becomes a frozen ViT with the identity that results are keyed by."""

import hashlib
import json
import re
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import asked
from harness.cards import LARGEST_CROP
from harness.data.room import Room, check_zip
from harness.data.statistics import Statistics, from_lists
from harness.errors import BadInput, nearest

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

    from methods.vit import FrozenViT, Pooling

WEIGHTS = Path(__file__).parent / "weights"
"""Shipped backbones: NAME.toml (architecture, pooling, data, recipe, accuracy, sha256) beside NAME.safetensors."""


@dataclass(frozen=True)
class Spec:
    """What `NAME`, `NAME@SIDE`, `NAME=FILE` or `NAME@SIDE=FILE` asks for."""

    name: str
    side: int | None = None
    """Of its square images, in pixels; None: the one that the name stands for."""
    file: Path | None = None

    def __str__(self) -> str:
        return self.name + (f"@{self.side}" if self.side else "") + (f"={self.file}" if self.file else "")


def parse(text: str) -> Spec:
    """Reads what a user asks for. Raises `BadInput`."""
    named, _, file = text.partition("=")
    name, at, side = named.partition("@")
    if at and not (side.isdecimal() and 0 < int(side) <= LARGEST_CROP):
        raise BadInput(f"backbone {text}: after @ comes the side of its images in pixels, as {name}@224, up to {LARGEST_CROP}.")
    return Spec(name, int(side) if at else None, asked.path(file).absolute() if file else None)


def own_side(name: str) -> int | None:
    """The side that a name says (`..._224`, `..._384`), or a shipped one's; None for a name that says none, as DINOv2's."""
    if name in (cards := shipped()):
        return cards[name]["architecture"]["img_size"]
    said = re.findall(r"_(\d{2,4})(?=_|$)", name.partition(".")[0])
    return int(said[-1]) if said else None


@dataclass(frozen=True)
class Backbone:
    """A frozen ViT and where it comes from."""

    name: str
    sha256: str
    """Of the weights as loaded (names, shapes, values), whatever file format they came in."""
    pooling: "Pooling"
    size: int
    """Side of its square images, in pixels."""
    statistics: Statistics
    """Those of the images that it was trained with."""
    vit: "FrozenViT"
    """In float32 on the CPU."""
    source: str
    """File or hub the weights were read from; provenance, not identity."""


def shipped() -> dict[str, dict]:
    """The cards of the shipped backbones by name."""
    return {path.stem: tomllib.loads(path.read_text()) for path in sorted(WEIGHTS.glob("*.toml"))}


def load(spec: str) -> Backbone:
    """Loads `NAME`, `NAME@SIDE`, `NAME=FILE` or `NAME@SIDE=FILE`. NAME is a shipped backbone or any ViT of timm; FILE holds its weights.

    FILE is safetensors, a timm or torch checkpoint (read with `weights_only`), or an original ViT .npz (read without pickle). The position
    embedding is resized where the resolution differs. Raises `BadInput`.
    """
    from methods.vit import FrozenViT

    wanted = parse(spec)
    name, file = wanted.name, wanted.file
    cards = shipped()
    if file and not file.is_file():
        raise BadInput(f"backbone {name}: no file {file}.")
    if name in cards:
        card = cards[name]
        vit = _create_shipped(card, file or WEIGHTS / f"{name}.safetensors")
        pooling, source = card["pooling"], str(file or "shipped")
    else:
        vit = _create_timm(name, file)
        pooling, source = _pooling(name, vit), str(file or "timm's hub")
    frozen = at_side(FrozenViT(vit, pooling), wanted)
    return Backbone(name, digest_of(vit), pooling, frozen.image_size, statistics_of(name), frozen, source)


def sided(text: str, identity: Mapping[str, Any], crop: int | None) -> Spec:
    """What a user asks for, at the side that a stored identity has, where it says one. Raises `BadInput` where another is asked for."""
    wanted, side = parse(text), identity["backbone"].get("side")
    if crop is not None or side is None:
        return wanted
    if wanted.side not in (None, side):
        raise BadInput(f"--backbone {text}: it was made with images of {side} pixels. Leave @{wanted.side} out.")
    return replace(wanted, side=side)


def at_side(vit: "FrozenViT", wanted: Spec) -> "FrozenViT":
    """The backbone for images of the side that was asked for. Raises `BadInput` where that is no whole number of patches."""
    if wanted.side in (None, vit.image_size):
        return vit
    patch = vit.patch_size[0]
    if wanted.side % patch:
        below = wanted.side - wanted.side % patch
        near = " or ".join(str(side) for side in (below, below + patch) if 0 < side <= LARGEST_CROP)
        raise BadInput(f"backbone {wanted.name} has patches of {patch} pixels, which {wanted.side} is no multiple of: take {near}.")
    return vit.at(wanted.side)


def statistics_of(name: str) -> Statistics:
    """Those that a backbone was trained with, by its card or by timm's configuration of that name."""
    import timm

    if name in (cards := shipped()):
        return from_lists(cards[name]["mean"], cards[name]["std"])
    config: Any = timm.get_pretrained_cfg(name)
    return from_lists(config.mean, config.std)


def architecture(spec: str) -> "FrozenViT":
    """The ViT of a timm or shipped name with random weights: for a plan's timing, where weights aren't needed. Raises `BadInput`."""
    import timm
    from timm.models.vision_transformer import VisionTransformer

    from methods.vit import FrozenViT

    wanted, cards = parse(spec), shipped()
    name = wanted.name
    if name in cards:
        return at_side(FrozenViT(VisionTransformer(**cards[name]["architecture"]), cards[name]["pooling"]), wanted)
    _check_timm_name(name)
    vit: Any = timm.create_model(name, pretrained=False, num_classes=0)
    return at_side(FrozenViT(vit, _pooling(name, vit)), wanted)


def _create_shipped(card: dict, file: Path) -> "VisionTransformer":
    from timm.models.vision_transformer import VisionTransformer

    vit = VisionTransformer(**card["architecture"])
    _load_file(vit, card["name"], file)
    return vit


def _check_timm_name(name: str) -> None:
    import timm

    known = timm.list_models("*vit*") + timm.list_models("*deit*")
    architecture, dot, tag = name.partition(".")
    if architecture not in known:
        raise BadInput(f"unknown backbone '{name}'.{nearest(name, [*known, *shipped()])} See `harness list backbones`.")
    tags = [known_tag.partition(".")[2] for known_tag in timm.list_pretrained(f"{architecture}.*")]
    if dot and tag not in tags:
        raise BadInput(f"unknown weights '{tag}' of {architecture}: timm knows {', '.join(sorted(tags)) or 'none'}.")


def _create_timm(name: str, file: Path | None) -> Any:
    import timm

    _check_timm_name(name)
    if file is not None:
        vit: Any = timm.create_model(name, pretrained=False, num_classes=0)
        _load_file(vit, name, file)
        return vit
    try:
        return timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # timm and its hub raise many kinds: no network, no such tag, no weights for this name
        reason = re.sub(r"\s+", " ", str(error)).strip().split(". ")[0][:160]
        raise BadInput(
            f"backbone {name}: its weights could not be fetched ({type(error).__name__}: {reason}). "
            f"Offline? Give a file: --backbone {name}=FILE."
        ) from error


def _pooling(name: str, vit: "VisionTransformer") -> "Pooling":
    """MAE's weights were not trained for their CLS token: VPT pools all others, the last block's outputs at the prompts included."""
    if name.partition(".")[2].startswith("mae"):
        return "vpt-mae"
    return "avg" if vit.global_pool == "avg" else "cls"


def _load_file(vit: "VisionTransformer", name: str, file: Path) -> None:
    """Puts a file's weights into `vit`, whatever its format. A classifier head in the file is left out; anything else must fit."""
    import torch
    from safetensors.torch import load_file
    from timm.models.vision_transformer import _load_weights, checkpoint_filter_fn

    try:
        if zipfile.is_zipfile(file):  # .npz, and what torch.save writes
            check_zip(file)
        if file.suffix == ".npz":
            _load_weights(vit, str(file))
            return
        if file.suffix == ".safetensors":
            state: Any = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
        for wrapper in ("state_dict_ema", "state_dict", "model"):
            if isinstance(state.get(wrapper), dict):
                state = state[wrapper]
        tensors = {key.removeprefix("module."): value for key, value in state.items() if isinstance(value, torch.Tensor)}
        room = Room(file)
        for value in tensors.values():  # a few bytes may be said to be repeated any number of times
            room.take(value.numel() * value.element_size())
        weights = {key: value.float() for key, value in tensors.items()}
        weights = checkpoint_filter_fn(weights, vit)
        weights = {key: value for key, value in weights.items() if key.split(".")[0] not in ("head", "head_dist", "decoder_blocks")}
        missing, extra = vit.load_state_dict(weights, strict=False)
    except Exception as error:  # torch, numpy and safetensors raise many kinds for a file that isn't what it should be
        reason = re.sub(r"\s+", " ", str(error)).strip()[:200]
        raise BadInput(f"backbone {name}: {file} doesn't hold its weights ({reason}).") from error
    if missing or extra:
        wrong = ", ".join([f"lacks {key}" for key in missing[:3]] + [f"has an extra {key}" for key in extra[:3]])
        raise BadInput(f"backbone {name}: {file} doesn't fit: it {wrong}.")


def digest_of(vit: "VisionTransformer") -> str:
    """The sha256 of a ViT's tensors: names, shapes, values."""
    digest = hashlib.sha256()
    for key, value in sorted(vit.state_dict().items()):
        digest.update(json.dumps([key, list(value.shape)]).encode())
        digest.update(value.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
