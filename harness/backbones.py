"""Backbones: a timm name, or a name and a file of weights, becomes a frozen ViT with the identity that results are keyed by."""

import hashlib
import json
import re
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import asked
from harness.data.room import Room, check_zip
from harness.errors import BadInput, nearest

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

    from methods.vit import FrozenViT, Pooling

WEIGHTS = Path(__file__).parent / "weights"
"""Shipped backbones: NAME.toml (architecture, pooling, data, recipe, accuracy, sha256) beside NAME.safetensors."""


@dataclass(frozen=True)
class Backbone:
    """A frozen ViT and where it comes from."""

    name: str
    sha256: str
    """Of the weights as loaded (names, shapes, values), whatever file format they came in."""
    pooling: "Pooling"
    size: int
    """Side of its square images, in pixels."""
    vit: "FrozenViT"
    """In float32 on the CPU."""
    source: str
    """File or hub the weights were read from; provenance, not identity."""


def shipped() -> dict[str, dict]:
    """The cards of the shipped backbones by name."""
    return {path.stem: tomllib.loads(path.read_text()) for path in sorted(WEIGHTS.glob("*.toml"))}


def load(spec: str) -> Backbone:
    """Loads `NAME` or `NAME=FILE`. NAME is a shipped backbone or any ViT of timm; FILE holds its weights.

    FILE is safetensors, a timm or torch checkpoint (read with `weights_only`), or an original ViT .npz (read without pickle). The position
    embedding is resized where the resolution differs. Raises `BadInput`.
    """
    from methods.vit import FrozenViT

    name, _, file = asked.backbone(spec).partition("=")
    cards = shipped()
    if file and not Path(file).is_file():
        raise BadInput(f"backbone {name}: no file {file}.")
    if name in cards:
        card = cards[name]
        vit = _create_shipped(card, Path(file) if file else WEIGHTS / f"{name}.safetensors")
        pooling, source = card["pooling"], file or "shipped"
    else:
        vit = _create_timm(name, Path(file) if file else None)
        pooling, source = _pooling(name, vit), file or "timm's hub"
    frozen = FrozenViT(vit, pooling)
    return Backbone(name, _digest(vit), pooling, frozen.image_size, frozen, source)


def architecture(name: str) -> "FrozenViT":
    """The ViT of a timm or shipped name with random weights: for a plan's timing, where weights aren't needed. Raises `BadInput`."""
    import timm
    from timm.models.vision_transformer import VisionTransformer

    from methods.vit import FrozenViT

    cards = shipped()
    if name in cards:
        return FrozenViT(VisionTransformer(**cards[name]["architecture"]), cards[name]["pooling"])
    _check_timm_name(name)
    vit: Any = timm.create_model(name, pretrained=False, num_classes=0)
    return FrozenViT(vit, _pooling(name, vit))


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
        return "avg+prompts"
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


def _digest(vit: "VisionTransformer") -> str:
    digest = hashlib.sha256()
    for key, value in sorted(vit.state_dict().items()):
        digest.update(json.dumps([key, list(value.shape)]).encode())
        digest.update(value.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
